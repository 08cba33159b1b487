namespace DarkMatter.Data;

/// <summary>
/// The taps of one axis of an antialiased bilinear resize: a triangle over max(1, scale) source pixels to each side of the output pixel's
/// centre, cut at the crop's border and normalised (torchvision's <c>resize(antialias=True)</c>, Pillow's BILINEAR).
/// </summary>
internal sealed class ResampleWeights
{
    private int[] _first = [];
    private int[] _taps = [];
    private float[] _weights = [];

    /// <summary>The most taps of an output pixel, and the distance between the weights of two of them.</summary>
    public int Stride { get; private set; }

    /// <summary>The first source pixel of an output pixel.</summary>
    public int First(int output) => _first[output];

    /// <summary>The weights of an output pixel's source pixels, from <see cref="First"/> on.</summary>
    public ReadOnlySpan<float> Weights(int output) => _weights.AsSpan(output * Stride, _taps[output]);

    /// <summary>The first source pixel of every output pixel.</summary>
    public ReadOnlySpan<int> Firsts => _first;

    /// <summary>The number of source pixels of every output pixel.</summary>
    public ReadOnlySpan<int> Taps => _taps;

    /// <summary>All weights: those of an output pixel begin at its number times <see cref="Stride"/>.</summary>
    public ReadOnlySpan<float> Table => _weights;

    /// <summary>Prepares for one axis.</summary>
    /// <param name="start">Where the crop begins, in source pixels; fractional after a scaled decode.</param>
    /// <param name="length">How long it is.</param>
    /// <param name="sourceSize">The source pixels there are.</param>
    /// <param name="outputSize">The pixels to make.</param>
    public void Prepare(double start, double length, int sourceSize, int outputSize)
    {
        var scale = length / outputSize;
        var support = Math.Max(1, scale);
        var inverse = 1 / support;
        // Relative to the crop's first whole pixel, so that the weights do not depend on how much around the crop was decoded.
        var origin = (int)Math.Floor(start);
        var offset = start - origin;
        var least = Math.Max(0, -origin);
        var most = Math.Min(sourceSize - origin, (int)Math.Ceiling(offset + length));
        Stride = (int)Math.Ceiling(support) * 2 + 1;
        if (_first.Length < outputSize)
        {
            _first = new int[outputSize];
            _taps = new int[outputSize];
        }

        if (_weights.Length < outputSize * Stride)
            _weights = new float[outputSize * Stride];

        for (var output = 0; output < outputSize; output++)
        {
            var center = offset + (output + 0.5) * scale;
            var first = Math.Max(least, (int)(center - support + 0.5));
            var end = Math.Min(most, (int)(center + support + 0.5));
            var weights = _weights.AsSpan(output * Stride, end - first);
            var sum = 0.0;
            for (var tap = 0; tap < weights.Length; tap++)
            {
                var weight = Math.Max(0, 1 - Math.Abs((first + tap + 0.5 - center) * inverse));
                weights[tap] = (float)weight;
                sum += weight;
            }

            var normal = (float)(1 / sum);
            foreach (ref var weight in weights)
                weight *= normal;
            _first[output] = origin + first;
            _taps[output] = weights.Length;
        }
    }
}
