using System.Collections.Concurrent;

namespace DarkMatter.Data;

/// <summary>
/// Decoded small images, kept between epochs: a 28 × 28 PNG takes longer to decode than to augment. Filled until its bytes are spent and
/// never evicted, because an epoch asks for every sample equally often. Thread-safe.
/// </summary>
internal sealed class DecodedCache(long maxBytes)
{
    /// <summary>The largest image that is kept.</summary>
    public const int MaxImageBytes = 16 << 10;

    private const int SlabBytes = 1 << 20;

    private readonly Lock _gate = new();
    private readonly ConcurrentDictionary<long, Entry> _entries = new();
    private byte[] _slab = [];
    private int _slabUsed;
    private long _left = maxBytes;

    /// <summary>Whether an image of this size is worth keeping.</summary>
    public static bool Suits(ImageInfo info) => (long)info.Width * info.Height * info.Channels <= MaxImageBytes;

    /// <summary>Finds a sample's pixels and key.</summary>
    public bool TryGet(long sample, out DecodedImage image, out string key)
    {
        if (!_entries.TryGetValue(sample, out var entry))
        {
            image = default;
            key = "";
            return false;
        }

        var pixels = entry.Slab.AsSpan(entry.Offset, entry.Width * entry.Height * entry.Channels);
        image = new DecodedImage(pixels, new PixelRegion(0, 0, entry.Width, entry.Height), entry.Channels, 1);
        key = entry.Key;
        return true;
    }

    /// <summary>Keeps a whole image, if there is room.</summary>
    public void Add(long sample, string key, DecodedImage image)
    {
        var bytes = image.Pixels.Length;
        lock (_gate)
        {
            if (bytes > _left || bytes > MaxImageBytes || _entries.ContainsKey(sample))
                return;
            if (bytes > _slab.Length - _slabUsed)
            {
                _slab = GC.AllocateUninitializedArray<byte>((int)Math.Min(SlabBytes, _left));
                _slabUsed = 0;
            }

            image.Pixels.CopyTo(_slab.AsSpan(_slabUsed));
            _entries[sample] = new Entry(key, _slab, _slabUsed, (short)image.Region.Width, (short)image.Region.Height, (byte)image.Channels);
            _slabUsed += bytes;
            _left -= bytes;
        }
    }

    private readonly record struct Entry(string Key, byte[] Slab, int Offset, short Width, short Height, byte Channels);
}
