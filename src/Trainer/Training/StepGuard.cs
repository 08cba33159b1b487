using static TorchSharp.torch;

namespace DarkMatter.Trainer.Training;

/// <summary>
/// What a forward pass changes besides its results: running statistics and torch's random state. Kept at the start of every step, so that a
/// step that a lost rank broke off leaves no trace, and its repetition is what it would have been, bit for bit.
/// </summary>
public sealed class StepGuard : IDisposable
{
    private readonly IReadOnlyList<Tensor> _changed;
    private readonly Tensor[] _kept;
    private Tensor? _random;

    /// <summary>Makes room.</summary>
    /// <param name="changed">The networks' buffers.</param>
    public StepGuard(IReadOnlyList<Tensor> changed)
    {
        using var _ = no_grad();
        _changed = changed;
        _kept = [.. changed.Select(t => t.detach().clone().DetachFromDisposeScope())];
    }

    /// <summary>Whether a step has begun and not ended.</summary>
    public bool IsOpen => _random is not null;

    /// <summary>A step begins.</summary>
    public void Open()
    {
        Copy(_changed, _kept);
        _random?.Dispose();
        _random = get_rng_state().DetachFromDisposeScope();
    }

    /// <summary>The step was applied: what it changed is right.</summary>
    public void Close()
    {
        _random?.Dispose();
        _random = null;
    }

    /// <summary>The step was broken off: everything is as before it. Without an open step nothing happens.</summary>
    public void Restore()
    {
        if (_random is null)
            return;
        Copy(_kept, _changed);
        lock (TrainState.Generator)
            set_rng_state(_random);
        Close();
    }

    /// <summary>Frees the copies.</summary>
    public void Dispose()
    {
        Close();
        foreach (var tensor in _kept)
            tensor.Dispose();
    }

    private static void Copy(IReadOnlyList<Tensor> from, IReadOnlyList<Tensor> to)
    {
        using var _ = no_grad();
        for (var i = 0; i < from.Count; i++)
        {
            if (StateMemory.IsDirect(from[i]) && StateMemory.IsDirect(to[i]))
                from[i].bytes.CopyTo(to[i].bytes);                                // dozens of small tensors per step: no kernel for each
            else
                to[i].copy_(from[i]);
        }
    }
}
