using static TorchSharp.torch;

namespace DarkMatter.Trainer.Training;

/// <summary>
/// Tensors as one row of bytes, for ranks to copy from each other: contiguous CPU tensors are read and written in place, all others
/// through a copy in host memory.
/// </summary>
public sealed class StateMemory : IDisposable
{
    private readonly Tensor[] _tensors;
    private readonly Tensor[] _host;
    private readonly long[] _starts;

    /// <summary>Lays tensors end to end; it does not own them.</summary>
    /// <param name="tensors">In an order that is the same on every rank.</param>
    public StateMemory(IEnumerable<Tensor> tensors)
    {
        using var _ = no_grad();
        _tensors = [.. tensors];
        _host = [.. _tensors.Select(t => IsDirect(t) ? t : t.detach().cpu().contiguous().DetachFromDisposeScope())];
        _starts = new long[_tensors.Length];
        foreach (var (i, tensor) in _tensors.Index())
        {
            _starts[i] = Bytes;
            Bytes += tensor.NumberOfElements * tensor.ElementSize;
        }
    }

    /// <summary>The length of the row.</summary>
    public long Bytes { get; }

    /// <summary>Whether a tensor's bytes can be used where they are.</summary>
    public static bool IsDirect(Tensor tensor) => tensor.device_type == TorchSharp.DeviceType.CPU && tensor.is_contiguous();

    /// <summary>Copies bytes from <paramref name="offset"/> on.</summary>
    public void Read(long offset, Span<byte> target)
    {
        while (target.Length > 0)
        {
            var piece = From(offset, target.Length);
            piece.CopyTo(target);
            offset += piece.Length;
            target = target[piece.Length..];
        }
    }

    /// <summary>Overwrites bytes from <paramref name="offset"/> on.</summary>
    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        while (source.Length > 0)
        {
            var piece = From(offset, source.Length);
            source[..piece.Length].CopyTo(piece);
            offset += piece.Length;
            source = source[piece.Length..];
        }
    }

    /// <summary>Brings what was written to tensors that are elsewhere.</summary>
    public void Flush()
    {
        using var _ = no_grad();
        foreach (var (tensor, host) in _tensors.Zip(_host).Where(pair => !ReferenceEquals(pair.First, pair.Second)))
            tensor.copy_(host);
    }

    /// <summary>Frees the copies.</summary>
    public void Dispose()
    {
        foreach (var (tensor, host) in _tensors.Zip(_host).Where(pair => !ReferenceEquals(pair.First, pair.Second)))
            host.Dispose();
    }

    /// <summary>The bytes from an offset on that lie in one tensor, at most <paramref name="length"/>.</summary>
    private Span<byte> From(long offset, int length)
    {
        if (offset < 0 || offset + length > Bytes)
            throw new ArgumentOutOfRangeException(nameof(offset), $"bytes {offset} to {offset + length} of a state of {Bytes}");
        var i = Array.BinarySearch(_starts, offset);
        i = i >= 0 ? i : ~i - 1;
        while (_host[i].NumberOfElements == 0 || _starts[i] + (_host[i].NumberOfElements * _host[i].ElementSize) <= offset)
            i++;
        var bytes = _host[i].bytes[(int)(offset - _starts[i])..];
        return bytes[..Math.Min(length, bytes.Length)];
    }
}
