using static TorchSharp.torch;

namespace DarkMatter.Trainer.Stack;

/// <summary><see cref="ITorchStack.Normalize"/> in plain operations. Bytes come with the channels last, and so they stay.</summary>
internal static class PlainNormalize
{
    internal static Tensor Apply(Tensor images, ReadOnlySpan<float> mean, ReadOnlySpan<float> deviation)
    {
        Check(images, mean.Length, deviation.Length);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var centre = tensor(mean.ToArray(), device: images.device).mul(255);
        var scale = tensor(deviation.ToArray(), device: images.device).mul(255);
        return images.to(ScalarType.Float32).sub_(centre).div_(scale).permute(0, 3, 1, 2).MoveToOuterDisposeScope();
    }

    internal static void Check(Tensor images, int means, int deviations)
    {
        if (images.dtype == ScalarType.Byte && images.Dimensions == 4 && images.shape[3] == means && means == deviations) return;
        throw new ArgumentException(
            $"Normalize takes uint8 images [N, H, W, C] with C means and C deviations; it got {images.dtype} [{string.Join(", ", images.shape)}] with {means} and {deviations}");
    }
}
