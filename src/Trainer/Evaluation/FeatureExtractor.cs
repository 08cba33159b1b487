using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Evaluation;

/// <summary>Turns images into features: by a backbone in evaluation mode, or by taking their pixels as they are.</summary>
/// <param name="stack">Computes.</param>
/// <param name="mean">Per channel, as in training.</param>
/// <param name="std">Per channel, as in training.</param>
/// <param name="batch">Images per forward pass; the result does not depend on it beyond rounding. Default 256.</param>
public sealed class FeatureExtractor(ITorchStack stack, IReadOnlyList<float> mean, IReadOnlyList<float> std, int batch = 256)
{
    /// <summary>Pooled backbone features [count, F] float32. The backbone is left in the mode it was in.</summary>
    /// <param name="backbone">Its running statistics are used.</param>
    /// <param name="images">Bytes [count, size, size, 3].</param>
    /// <param name="size">Height and width in pixels.</param>
    /// <param name="bfloat16">Whether the backbone computes in bfloat16.</param>
    /// <param name="progress">Told how many images are done.</param>
    /// <param name="cancellationToken">Ends the work between two batches.</param>
    /// <exception cref="ArgumentException">The bytes are not whole images.</exception>
    public Tensor Features(
        Backbone backbone, ReadOnlyMemory<byte> images, int size, bool bfloat16, IProgress<int>? progress = null, CancellationToken cancellationToken = default)
    {
        var count = Count(images, size);
        using var _ = no_grad();
        var device = backbone.parameters().First().device;
        var result = empty([count, backbone.Features], device: device);
        var training = backbone.training;
        backbone.eval();
        try
        {
            for (var begin = 0; begin < count; begin += batch)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                var n = Math.Min(batch, count - begin);
                var bytes = Bytes(images.Span.Slice(begin * size * size * 3, n * size * size * 3), n, size).to(device);
                var x = stack.Normalize(bytes, [.. mean], [.. std]);
                Tensor features;
                using (stack.Autocast(bfloat16))
                    features = backbone.call(x);
                result.narrow(0, begin, n).copy_(features);
                progress?.Report(begin + n);
            }

            return result;
        }
        finally
        {
            backbone.train(training);
        }
    }

    /// <summary>The pixels themselves, 0 to 1: [count, D] float32. D is size·size for gray images (all channels equal), else three times that.</summary>
    /// <exception cref="ArgumentException">The bytes are not whole images.</exception>
    public static Tensor Pixels(ReadOnlyMemory<byte> images, int size)
    {
        var count = Count(images, size);
        var gray = IsGray(images.Span);
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var bytes = Bytes(images.Span, count, size).view(count, size * size, 3);
        var used = gray ? bytes.narrow(2, 0, 1) : bytes;
        return (used.to(ScalarType.Float32) / 255).flatten(1).MoveToOuterDisposeScope();
    }

    private static bool IsGray(ReadOnlySpan<byte> images)
    {
        for (var i = 0; i < images.Length; i += 3)
        {
            if (images[i] != images[i + 1] || images[i] != images[i + 2])
                return false;
        }

        return true;
    }

    private static Tensor Bytes(ReadOnlySpan<byte> images, int count, int size)
    {
        var bytes = empty([count, size, size, 3], dtype: ScalarType.Byte);
        images.CopyTo(bytes.bytes);
        return bytes;
    }

    private static int Count(ReadOnlyMemory<byte> images, int size)
    {
        var each = size * size * 3;
        return size > 0 && images.Length > 0 && images.Length % each == 0
            ? images.Length / each
            : throw new ArgumentException($"{images.Length} bytes are not whole images of {size}×{size}×3, at least one.", nameof(images));
    }
}
