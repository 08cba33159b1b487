using TorchSharp;
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
        var found = new List<(NamedTensor Of, double Difference, double Size)>();
        foreach (var (mine, theirs) in Pairs(tensors))
        {
            if (theirs.NumberOfElements == 0)
                continue;
            using var inner = NewDisposeScope();
            found.Add(mine.Tensor.dtype == ScalarType.Int64
                ? (mine, theirs.ne(mine.Tensor).to(ScalarType.Float64).mean().ToDouble(), double.NaN)
                : (mine, Norm(theirs.to(ScalarType.Float64).sub(mine.Tensor.to(ScalarType.Float64))), Norm(mine.Tensor.to(ScalarType.Float64))));
        }

        var floors = found.Where(t => !double.IsNaN(t.Size)).GroupBy(t => t.Of.Kind).ToDictionary(kind => kind.Key, kind => Certificate.Floor * kind.Max(t => t.Size));
        return [.. found.Select(t => (t.Of.Name, t.Difference == 0 || double.IsNaN(t.Size) ? t.Difference : Finite(t.Difference / Math.Max(t.Size, floors[t.Of.Kind]))))];
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

    /// <summary>‖x‖; infinite where an element is no number.</summary>
    private static double Norm(Tensor x) => Finite(x.norm().ToDouble());

    private static double Finite(double value) => double.IsFinite(value) ? value : double.PositiveInfinity;
}
