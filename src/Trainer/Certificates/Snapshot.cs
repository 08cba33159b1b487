using System.Numerics;
using System.Runtime.InteropServices;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Certificates;

/// <summary>A tensor of a rank.</summary>
/// <param name="Name">As checkpoints call it.</param>
/// <param name="Kind">What its size is compared with: see <see cref="Certificate"/>.</param>
/// <param name="Tensor">Not owned.</param>
internal readonly record struct NamedTensor(string Name, string Kind, Tensor Tensor);

/// <summary>Copies of a rank's tensors at one moment, for other ranks to be compared with and to begin from.</summary>
internal sealed class Snapshot : IDisposable
{
    private readonly NamedTensor[] _tensors;

    /// <summary>Copies <paramref name="tensors"/>.</summary>
    public Snapshot(IEnumerable<NamedTensor> tensors)
    {
        using var _ = no_grad();
        _tensors = [.. tensors.Select(t => t with { Tensor = t.Tensor.detach().clone().DetachFromDisposeScope() })];
    }

    /// <summary>Overwrites a rank's tensors with these.</summary>
    public void CopyTo(IReadOnlyList<NamedTensor> tensors)
    {
        using var _ = no_grad();
        foreach (var (mine, theirs) in Pairs(tensors))
            theirs.copy_(mine.Tensor);
    }

    /// <summary>The relative error of each of a rank's tensors, as <see cref="Certificate"/> defines it; infinite where a number is none.</summary>
    /// <exception cref="InvalidOperationException">They are not the tensors that this rank has.</exception>
    public IReadOnlyList<(string Name, double Error)> Errors(IReadOnlyList<NamedTensor> tensors)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var found = new List<(NamedTensor Of, (double Difference, double? Size) Is)>();
        foreach (var (mine, theirs) in Pairs(tensors))
        {
            if (theirs.NumberOfElements > 0)
                found.Add((mine, Compare(theirs, mine.Tensor)));
        }

        var floors = found.Where(t => t.Is.Size is not null).GroupBy(t => t.Of.Kind).ToDictionary(kind => kind.Key, kind => Certificate.Floor * kind.Max(t => t.Is.Size!.Value));
        return [.. found.Select(t => (t.Of.Name, Relative(t.Is.Difference, t.Is.Size, t.Of.Kind)))];

        double Relative(double difference, double? size, string kind) =>
            size is { } b && difference > 0 ? Finite(difference / Math.Max(b, floors[kind])) : difference;
    }

    public void Dispose()
    {
        foreach (var tensor in _tensors)
            tensor.Tensor.Dispose();
    }

    private IEnumerable<(NamedTensor Mine, Tensor Theirs)> Pairs(IReadOnlyList<NamedTensor> theirs)
    {
        if (theirs.Count != _tensors.Length)
            throw new InvalidOperationException($"one rank has {_tensors.Length} tensors, the other {theirs.Count}");
        foreach (var (mine, other) in _tensors.Zip(theirs))
        {
            if (mine.Name != other.Name || mine.Tensor.dtype != other.Tensor.dtype || !mine.Tensor.shape.SequenceEqual(other.Tensor.shape))
                throw new InvalidOperationException($"one rank has {Described(mine)}, the other {Described(other)}");
            yield return (mine, other.Tensor);
        }
    }

    private static string Described(NamedTensor t) => $"'{t.Name}' {t.Tensor.dtype} [{string.Join(", ", t.Tensor.shape)}]";

    /// <summary>‖a − b‖ and ‖b‖, infinite where an element is no number; of whole numbers the part that differs, and no size.</summary>
    private static (double Difference, double? Size) Compare(Tensor a, Tensor b)
    {
        // Hundreds of small tensors in every update: a loop here costs less than a kernel for each.
        ReadOnlySpan<byte> many = Direct(a).bytes, one = Direct(b).bytes;
        return a.dtype switch
        {
            ScalarType.Float32 => Norms<float>(many, one),
            ScalarType.Float64 => Norms<double>(many, one),
            ScalarType.Float16 => Norms<Half>(many, one),
            ScalarType.Int64 => (Differing(MemoryMarshal.Cast<byte, long>(many), MemoryMarshal.Cast<byte, long>(one)), null),
            _ => throw new InvalidOperationException($"a state has no tensors of {a.dtype}"),
        };
    }

    private static (double Difference, double? Size) Norms<T>(ReadOnlySpan<byte> many, ReadOnlySpan<byte> one)
        where T : unmanaged, INumberBase<T>
    {
        ReadOnlySpan<T> a = MemoryMarshal.Cast<byte, T>(many), b = MemoryMarshal.Cast<byte, T>(one);
        var (difference, size) = (0.0, 0.0);
        for (var i = 0; i < b.Length; i++)
        {
            var (x, y) = (double.CreateTruncating(a[i]), double.CreateTruncating(b[i]));
            difference += (x - y) * (x - y);
            size += y * y;
        }

        return (Finite(Math.Sqrt(difference)), Finite(Math.Sqrt(size)));
    }

    private static double Differing(ReadOnlySpan<long> a, ReadOnlySpan<long> b)
    {
        var differing = 0;
        for (var i = 0; i < b.Length; i++)
            differing += a[i] == b[i] ? 0 : 1;
        return (double)differing / b.Length;
    }

    private static Tensor Direct(Tensor tensor) => StateMemory.IsDirect(tensor) ? tensor : tensor.detach().cpu().contiguous();

    private static double Finite(double value) => double.IsFinite(value) ? value : double.PositiveInfinity;
}
