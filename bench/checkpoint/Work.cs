using System.Diagnostics;
using DarkMatter.Trainer.Checkpoints;
using static TorchSharp.torch;

namespace DarkMatter.Checkpoint.Bench;

/// <summary>What the training thread did in one interval.</summary>
/// <param name="Steps">Steps computed.</param>
/// <param name="Seconds">Wall time.</param>
/// <param name="Captured">Of it, held up by copying the state; in seconds.</param>
/// <param name="Written">Until the checkpoint was published, from its beginning; 0 without one. In seconds.</param>
internal sealed record Interval(int Steps, double Seconds, double Captured, double Written);

/// <summary>A training thread's work: a convolution, a matrix product and a pass over memory, one thread, about 100 steps a second.</summary>
internal sealed class Work : IDisposable
{
    private readonly Tensor images = rand(4, 64, 28, 28);
    private readonly Tensor filters = rand(64, 64, 3, 3);
    private readonly Tensor a = rand(256, 512);
    private readonly Tensor b = rand(512, 256);
    private readonly Tensor memory = rand(1 << 20);

    /// <summary>Computes for a time, with a checkpoint at the beginning or without one.</summary>
    public Interval Run(TimeSpan time, CheckpointWriter? writer, Func<TrainingProgress>? progress)
    {
        var start = Stopwatch.GetTimestamp();
        double captured = 0, written = 0;
        if (writer is not null)
        {
            writer.Save(progress!());
            captured = Stopwatch.GetElapsedTime(start).TotalSeconds;
        }
        var steps = 0;
        while (Stopwatch.GetElapsedTime(start) < time)
        {
            Step();
            steps++;
            if (written == 0 && writer is { IsWriting: false })
            {
                written = Stopwatch.GetElapsedTime(start).TotalSeconds;
            }
        }
        return new Interval(steps, Stopwatch.GetElapsedTime(start).TotalSeconds, captured, written);
    }

    private void Step()
    {
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        nn.functional.conv2d(images, filters, padding: [1, 1]);
        mm(a, b);
        memory.mul_(1.0f);
    }

    /// <summary>Frees its tensors.</summary>
    public void Dispose()
    {
        foreach (var tensor in (Tensor[])[images, filters, a, b, memory])
        {
            tensor.Dispose();
        }
    }
}
