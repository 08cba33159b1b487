using DarkMatter.Trainer.Stack;
using TorchSharp;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Training;

/// <summary>The tensors, one for each size of view, that every step's bytes pass through on their way to the device.</summary>
public sealed class ViewBuffer : IDisposable
{
    private readonly TrainOptions _options;
    private readonly List<(int Views, Tensor Bytes)> _groups;
    private readonly Device _device;

    /// <summary>Makes room for one batch.</summary>
    /// <param name="options">Sizes, mean and deviation, device.</param>
    public ViewBuffer(TrainOptions options)
    {
        (_options, _device) = (options, device(options.Device));
        _groups = [.. Groups(options.ViewSizes).Select(group =>
            (group.Views, empty([group.Views * options.RankBatch, group.Size, group.Size, 3], dtype: ScalarType.Byte).DetachFromDisposeScope()))];
    }

    /// <summary>Neighbouring views of one size go through the network together.</summary>
    public static IEnumerable<(int Size, int Views)> Groups(IReadOnlyList<int> sizes)
    {
        for (var i = 0; i < sizes.Count;)
        {
            var views = sizes.Skip(i).TakeWhile(size => size == sizes[i]).Count();
            yield return (sizes[i], views);
            i += views;
        }
    }

    /// <summary>Waits for the batch of a step.</summary>
    /// <exception cref="InvalidOperationException">The source gave another step or another number of images.</exception>
    public IViewBatch Read(IViewSource source, long step, CancellationToken cancellationToken)
    {
        var batch = source.ReadAsync(cancellationToken).AsTask().GetAwaiter().GetResult();
        if (batch.Step == step && batch.Count == _options.RankBatch)
            return batch;
        var message = $"run '{_options.Run}': the loader gave {batch.Count} images of step {batch.Step}, but {_options.RankBatch} of step {step} were due";
        batch.Dispose();
        throw new InvalidOperationException(message);
    }

    /// <summary>All views, one after the other: [V·n, 3, H, W] of each size, float32 or float64, (byte / 255 − mean) / std, channels-last.</summary>
    public IReadOnlyList<Tensor> Normalized(IViewBatch batch, ITorchStack stack)
    {
        var normalized = new List<Tensor>();
        var first = 0;
        foreach (var (views, tensor) in _groups)
        {
            var bytes = tensor.bytes;
            var each = bytes.Length / views;
            for (var view = 0; view < views; view++)
                batch.View(first + view).Span[..each].CopyTo(bytes.Slice(view * each, each));
            first += views;
            var x = stack.Normalize(_device.type == DeviceType.CPU ? tensor : tensor.to(_device), [.. _options.Mean], [.. _options.Std]);
            normalized.Add(_options.Precision == Precision.Float64 ? x.to(ScalarType.Float64) : x);
        }

        return normalized;
    }

    /// <summary>Frees the buffers.</summary>
    public void Dispose() => _groups.ForEach(group => group.Bytes.Dispose());
}
