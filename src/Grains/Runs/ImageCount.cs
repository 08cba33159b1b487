using System.Collections.Immutable;
using DarkMatter.Data;

namespace DarkMatter.Grains;

/// <summary>
/// Counts the images of committed steps, one bit an image: a billion images take 125 MB. An epoch's bits are dropped as soon as it is whole, so
/// two epochs are open at once, and more only where steps are missing.
/// </summary>
internal sealed class ImageCount(SampleOrder order)
{
    private readonly long[] _first = FirstOfShard(order.ShardCounts);
    private readonly Dictionary<long, (ulong[] Bits, long Count)> _open = [];
    private readonly HashSet<long> _whole = [];
    private readonly List<string> _problems = [];

    /// <summary>The digest of a step's images; they are counted if asked.</summary>
    public ulong Walk(long step, int batch, bool count)
    {
        int perLane = batch / order.Lanes;
        ulong digest = 0;
        for (int lane = 0; lane < order.Lanes; lane++)
        {
            for (int i = 0; i < perLane; i++)
            {
                var place = order.Locate(lane, (step * perLane) + i);
                digest += SampleDigest.Of(step, place);
                if (count)
                {
                    Count(place, step);
                }
            }
        }

        return digest;
    }

    /// <summary>Which epochs are over after <paramref name="steps"/> steps, and which of their images were not counted once.</summary>
    public (long Epochs, long MissingImages, ImmutableArray<EpochImage> Missing, IReadOnlyList<string> Problems) Close(int batch, long steps)
    {
        long longest = Enumerable.Range(0, order.Lanes).Max(order.LaneLength);
        long epochs = steps * (batch / order.Lanes) / longest;
        long missing = 0;
        var named = new List<EpochImage>();
        for (long epoch = 0; epoch < epochs; epoch++)
        {
            if (_whole.Contains(epoch))
            {
                continue;
            }

            var (bits, count) = _open.TryGetValue(epoch, out var found) ? found : (new ulong[Words], 0);
            missing += order.SampleCount - count;
            named.AddRange(Absent(bits).Take(Audit.NamedImages - named.Count).Select(address => new EpochImage(epoch, address)));
        }

        return (epochs, missing, [.. named], _problems);
    }

    private int Words => (int)((order.SampleCount + 63) / 64);

    private void Count(SamplePlace place, long step)
    {
        long number = _first[place.Address.Shard] + place.Address.Sample;
        if (!_open.TryGetValue(place.Epoch, out var epoch))
        {
            epoch = (_whole.Contains(place.Epoch) ? [] : new ulong[Words], 0);
        }

        ulong bit = 1UL << (int)(number & 63);
        if (epoch.Bits.Length == 0 || (epoch.Bits[number >> 6] & bit) != 0)
        {
            if (_problems.Count < Audit.NamedProblems)
            {
                _problems.Add($"shard {place.Address.Shard}, sample {place.Address.Sample} was committed twice in epoch {place.Epoch}, the second time in step {step}");
            }

            return;
        }

        epoch.Bits[number >> 6] |= bit;
        epoch.Count++;
        if (epoch.Count == order.SampleCount)
        {
            _open.Remove(place.Epoch);
            _whole.Add(place.Epoch);
        }
        else
        {
            _open[place.Epoch] = epoch;
        }
    }

    private IEnumerable<SampleAddress> Absent(ulong[] bits)
    {
        for (int shard = 0; shard < order.ShardCounts.Count; shard++)
        {
            for (int sample = 0; sample < order.ShardCounts[shard]; sample++)
            {
                long number = _first[shard] + sample;
                if ((bits[number >> 6] & (1UL << (int)(number & 63))) == 0)
                {
                    yield return new SampleAddress(shard, sample);
                }
            }
        }
    }

    private static long[] FirstOfShard(IReadOnlyList<int> counts)
    {
        long[] first = new long[counts.Count];
        for (int shard = 1; shard < first.Length; shard++)
        {
            first[shard] = first[shard - 1] + counts[shard - 1];
        }

        return first;
    }
}
