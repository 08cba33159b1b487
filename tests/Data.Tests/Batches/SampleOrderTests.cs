using FsCheck;
using FsCheck.Fluent;

namespace DarkMatter.Data.Tests.Batches;

public class SampleOrderTests
{
    /// <summary>Any small dataset: shard sizes (some empty), lanes, block size, seed.</summary>
    private static Arbitrary<(long Seed, int[] Counts, int Lanes, int Block)> Orders => (
        from seed in Gen.Choose(int.MinValue, int.MaxValue)
        from counts in Gen.Choose(0, 40).ArrayOf().Where(counts => counts.Sum() > 0)
        from lanes in Gen.Choose(1, Math.Min(counts.Sum(), 12))
        from block in Gen.Choose(1, 70)
        select ((long)seed, counts, lanes, block)).ToArbitrary();

    [Fact]
    public void Epoch_AllLanesTogether_HoldEverySampleOnce() => Check.QuickThrowOnFailure(Prop.ForAll(Orders, given =>
    {
        var order = new SampleOrder(given.Seed, given.Counts, given.Lanes, given.Block);
        var expected = given.Counts.SelectMany((count, shard) => Enumerable.Range(0, count).Select(sample => new SampleAddress(shard, sample))).ToHashSet();
        for (var epoch = 0L; epoch < 3; epoch++)
        {
            var all = Enumerable.Range(0, given.Lanes)
                .SelectMany(lane => Enumerable.Range(0, (int)order.LaneLength(lane)).Select(position => order.At(epoch, lane, position))).ToList();
            all.Count.ShouldBe(expected.Count);
            all.ToHashSet().SetEquals(expected).ShouldBeTrue();
        }
    }));

    [Fact]
    public void At_Anywhere_EqualsTheSlowTwin() => Check.QuickThrowOnFailure(Prop.ForAll(Orders, given =>
    {
        var order = new SampleOrder(given.Seed, given.Counts, given.Lanes, given.Block);
        for (var epoch = 0L; epoch < 2; epoch++)
        {
            var lanes = SlowTwin(given.Seed, given.Counts, given.Lanes, given.Block, epoch);
            for (var lane = 0; lane < given.Lanes; lane++)
            {
                order.LaneLength(lane).ShouldBe(lanes[lane].Count);
                for (var position = 0; position < lanes[lane].Count; position++)
                    order.At(epoch, lane, position).ShouldBe(lanes[lane][position]);
            }
        }
    }));

    [Fact]
    public void Locate_Seek_EqualsWalkOverEpochs() => Check.QuickThrowOnFailure(Prop.ForAll(Orders, given =>
    {
        var walked = new SampleOrder(given.Seed, given.Counts, given.Lanes, given.Block);
        for (var lane = 0; lane < given.Lanes; lane++)
        {
            long epoch = 0, position = 0;
            for (var index = 0L; index < 3 * walked.LaneLength(lane); index++)
            {
                // A fresh order has seen nothing before: its answer cannot depend on a walk.
                var place = index % 17 == 0 ? new SampleOrder(given.Seed, given.Counts, given.Lanes, given.Block).Locate(lane, index) : walked.Locate(lane, index);
                place.ShouldBe(new SamplePlace(epoch, position, walked.At(epoch, lane, position)));
                if (++position == walked.LaneLength(lane))
                    (epoch, position) = (epoch + 1, 0);
            }
        }
    }));

    [Fact]
    public void GlobalBatch_AnyWorldSize_IsTheSame() => Check.QuickThrowOnFailure(Prop.ForAll(Orders, given =>
    {
        const int PerLane = 3;
        var order = new SampleOrder(given.Seed, given.Counts, given.Lanes, given.Block);
        for (var step = 0; step < 12; step++)
        {
            var one = Batch(order, [.. Enumerable.Range(0, given.Lanes)], step, PerLane);
            for (var world = 1; world <= given.Lanes; world++)
            {
                var ranks = Enumerable.Range(0, world).SelectMany(rank =>
                    Batch(new SampleOrder(given.Seed, given.Counts, given.Lanes, given.Block), Lanes(rank, world, given.Lanes), step, PerLane));
                ranks.ShouldBe(one);
            }
        }
    }));

    [Fact]
    public void Feistel_AnyCountAndKey_IsABijection() => Check.QuickThrowOnFailure(Prop.ForAll(
        Gen.Choose(1, 3000).ToArbitrary(), Gen.Choose(0, int.MaxValue).ToArbitrary(), (count, key) =>
        {
            var permutation = new Feistel((ulong)key, count);
            Enumerable.Range(0, count).Select(i => permutation[i]).Order().ShouldBe(Enumerable.Range(0, count).Select(i => (long)i));
        }));

    [Fact]
    public void Feistel_LargeRange_StaysInside()
    {
        var permutation = new Feistel(9, 1_000_000_000_007);
        Enumerable.Range(0, 10_000).Select(i => permutation[i * 100_000_000L]).Distinct().Count().ShouldBe(10_000);
        Should.Throw<ArgumentOutOfRangeException>(() => permutation[1_000_000_000_007]);
        Should.Throw<ArgumentOutOfRangeException>(() => permutation[-1]);
    }

    [Fact]
    public void Feistel_ManyKeys_SendsAnElementEverywhereEquallyOften()
    {
        const int Count = 12, Keys = 60_000;
        for (var element = 0; element < Count; element++)
        {
            var hits = new int[Count];
            for (var key = 0; key < Keys; key++)
                hits[new Feistel(new KeyedRandom(0).With(key).Key, Count)[element]]++;
            // χ² with 11 degrees of freedom exceeds 45 once in 200,000 tries; the keys are fixed.
            hits.Sum(hit => Math.Pow(hit - Keys / (double)Count, 2) / (Keys / (double)Count)).ShouldBeLessThan(45);
        }
    }

    [Fact]
    public void Epochs_OneSeedOrTwo_Differ()
    {
        int[] counts = [.. Enumerable.Repeat(1000, 60)];
        var order = new SampleOrder(1, counts, 8, 4096);
        var other = new SampleOrder(2, counts, 8, 4096);
        var first = Enumerable.Range(0, 7500).Select(position => order.At(0, 3, position)).ToList();
        Same(first, Enumerable.Range(0, 7500).Select(position => order.At(1, 3, position))).ShouldBeLessThan(0.01);
        Same(first, Enumerable.Range(0, 7500).Select(position => other.At(0, 3, position))).ShouldBeLessThan(0.01);

        // A lane does not keep its samples either: another epoch gives it other shards.
        var shared = first.ToHashSet();
        shared.IntersectWith(Enumerable.Range(0, 7500).Select(position => order.At(1, 3, position)));
        shared.Count.ShouldBeLessThan(7500 / 2);

        static double Same(List<SampleAddress> left, IEnumerable<SampleAddress> right) => left.Zip(right).Count(pair => pair.First == pair.Second) / 7500.0;
    }

    [Fact]
    public void At_ABillionImages_NeedsNoSampleList()
    {
        var counts = new int[100_000];
        Array.Fill(counts, 10_007);
        counts[77] = 40_000_000; // one giant shard
        counts[78] = 0;
        var before = GC.GetAllocatedBytesForCurrentThread();
        var order = new SampleOrder(5, counts, 4096, 65_536);
        var place = order.Locate(4095, 987_654_321);
        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBeLessThan(8 << 20); // O(shards)
        place.Address.ShouldBe(new SampleOrder(5, counts, 4096, 65_536).At(place.Epoch, 4095, place.Position));

        before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 10_000; i++)
            order.Locate(i % 4096, 987_654_321L / 4096 * (i % 3));
        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBeLessThan(10 << 20); // a few epoch tables, nothing per address
    }

    [Fact]
    public void Constructor_FewerSamplesThanLanes_SaysSo() =>
        Should.Throw<ArgumentException>(() => new SampleOrder(0, [1, 1], 3, 8)).Message.ShouldStartWith("2 samples cannot fill 3 lanes; each lane needs at least one.");

    [Fact]
    public void At_OutOfRange_SaysTheRange()
    {
        var order = new SampleOrder(0, [4, 3], 2, 8);
        Should.Throw<ArgumentOutOfRangeException>(() => order.At(0, 2, 0)).Message.ShouldContain("The lanes are 0 to 1.");
        Should.Throw<ArgumentOutOfRangeException>(() => order.At(0, 0, 3)).Message.ShouldContain("Lane 0 has positions 0 to 2.");
        Should.Throw<ArgumentOutOfRangeException>(() => order.At(-1, 0, 0));
    }

    /// <summary>The definition, step by step: permute the shards, lay them end to end, cut the lanes, permute each block.</summary>
    private static List<List<SampleAddress>> SlowTwin(long seed, int[] counts, int lanes, int block, long epoch)
    {
        var key = new KeyedRandom(0).With(seed);
        var permutation = new Feistel(key.With(1).With(epoch).Key, counts.Length);
        var shards = new int[counts.Length];
        for (var shard = 0; shard < counts.Length; shard++)
            shards[permutation[shard]] = shard;
        var line = shards.SelectMany(shard => Enumerable.Range(0, counts[shard]).Select(sample => new SampleAddress(shard, sample))).ToList();

        var result = new List<List<SampleAddress>>();
        for (var lane = 0; lane < lanes; lane++)
        {
            var mine = line.GetRange(lane * line.Count / lanes, (lane + 1) * line.Count / lanes - lane * line.Count / lanes);
            var shuffled = new List<SampleAddress>();
            foreach (var (samples, number) in mine.Chunk(block).Select((samples, number) => (samples, number)))
            {
                var within = new Feistel(key.With(2).With(epoch).With(lane).With(number).Key, samples.Length);
                shuffled.AddRange(Enumerable.Range(0, samples.Length).Select(i => samples[within[i]]));
            }

            result.Add(shuffled);
        }

        return result;
    }

    private static List<SampleAddress> Batch(SampleOrder order, int[] lanes, int step, int perLane) =>
        [.. lanes.SelectMany(lane => Enumerable.Range(0, perLane).Select(i => order.Locate(lane, step * perLane + i).Address))];

    private static int[] Lanes(int rank, int world, int lanes) => [.. Enumerable.Range(rank * lanes / world, (rank + 1) * lanes / world - rank * lanes / world)];
}
