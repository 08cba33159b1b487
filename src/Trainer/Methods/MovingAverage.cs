using static TorchSharp.torch;

namespace DarkMatter.Trainer.Methods;

/// <summary>A second network that follows the trained one: target, teacher or key encoder. It has the same parts and learns nothing itself.</summary>
public static class MovingAverage
{
    /// <summary>Makes <paramref name="target"/> a copy that gradients leave alone.</summary>
    public static T Begin<T>(T target, nn.Module online)
        where T : nn.Module
    {
        using var _ = no_grad();
        CopyStatistics(target, online);
        foreach (var ((_, mine), (_, its)) in target.named_parameters().Zip(online.named_parameters()))
        {
            mine.requires_grad_(false);
            mine.copy_(its);
        }

        return target;
    }

    /// <summary>target ← m · target + (1 − m) · online, every parameter. Normalisation statistics are the target's own.</summary>
    public static void Follow(nn.Module target, nn.Module online, double m)
    {
        using var _ = no_grad();
        foreach (var ((_, mine), (_, its)) in target.named_parameters().Zip(online.named_parameters()))
            mine.mul_(m).add_(its, 1 - m);
    }

    /// <summary>Gives <paramref name="target"/> the normalisation statistics of <paramref name="online"/>.</summary>
    public static void CopyStatistics(nn.Module target, nn.Module online)
    {
        using var _ = no_grad();
        foreach (var ((_, mine), (_, its)) in target.named_buffers().Zip(online.named_buffers()))
            mine.copy_(its);
    }

    /// <summary>From <paramref name="start"/> at k = 0 to 1 at k = K along a cosine: 1 − (1 − m₀) · (cos(πk/K) + 1)/2.</summary>
    public static double Cosine(double start, long k, long total) => 1 - ((1 - start) * (Math.Cos(Math.PI * Math.Min(k, total) / total) + 1) / 2);
}
