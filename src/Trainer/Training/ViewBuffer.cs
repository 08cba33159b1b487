using DarkMatter.Trainer.Stack;
using TorchSharp;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Training;

/// <summary>The one tensor that every step's bytes pass through on their way to the device.</summary>
public sealed class ViewBuffer : IDisposable
{
    private readonly TrainOptions _options;
    private readonly int _views;
    private readonly Tensor _bytes;
    private readonly Device _device;

    /// <summary>Makes room for one batch.</summary>
    /// <param name="options">Sizes, mean and deviation, device.</param>
    /// <param name="views">V, views of each image.</param>
    public ViewBuffer(TrainOptions options, int views)
    {
        (_options, _views, _device) = (options, views, device(options.Device));
        _bytes = empty([views * options.RankBatch, options.ImageSize, options.ImageSize, 3], dtype: ScalarType.Byte).DetachFromDisposeScope();
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

    /// <summary>All views, one after the other: [V·n, 3, H, W] float32 or float64, (byte / 255 − mean) / std, channels-last.</summary>
    public Tensor Normalized(IViewBatch batch, ITorchStack stack)
    {
        var bytes = _bytes.bytes;
        var each = bytes.Length / _views;
        for (var view = 0; view < _views; view++)
            batch.View(view).Span[..each].CopyTo(bytes.Slice(view * each, each));
        var input = _device.type == DeviceType.CPU ? _bytes : _bytes.to(_device);
        var x = stack.Normalize(input, [.. _options.Mean], [.. _options.Std]);
        return _options.Precision == Precision.Float64 ? x.to(ScalarType.Float64) : x;
    }

    /// <summary>Frees the buffer.</summary>
    public void Dispose() => _bytes.Dispose();
}
