using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Stack;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Evaluation;

/// <summary>What a trained method is made of, as the recipe says it.</summary>
/// <param name="Method">Heads and loss.</param>
/// <param name="Setup">Backbone, batch and views.</param>
/// <param name="Mean">As in training.</param>
/// <param name="Std">As in training.</param>
/// <param name="Float64">Whether it was trained in float64.</param>
public sealed record EnergySetup(MethodOptions Method, MethodSetup Setup, IReadOnlyList<float> Mean, IReadOnlyList<float> Std, bool Float64);

/// <summary>A whole trained method, heads included, that tells how compatible two images are: low energy where they are.</summary>
public sealed class EnergyModel : IDisposable
{
    /// <summary>Pairs that go through the network together.</summary>
    private const int Chunk = 128;

    /// <summary>What the names of a backbone's tensors begin with where heads lie beside it; in an export they do not.</summary>
    private const string BackbonePrefix = "backbone.";

    private readonly EnergySetup _setup;
    private readonly IMethod _method;
    private readonly string _where;
    private readonly ITorchStack _stack;

    private EnergyModel(EnergySetup setup, IMethod method, string where, ITorchStack stack) => (_setup, _method, _where, _stack) = (setup, method, where, stack);

    /// <summary>Whether (x, y) and (y, x) have one energy.</summary>
    public bool IsSymmetric => _method.EnergyIsSymmetric;

    /// <summary>
    /// Builds the method and reads a checkpoint into it. How many images a memory has is the checkpoint's to say: the dataset need not be here any more.
    /// </summary>
    /// <param name="setup">What the checkpoint's recipe describes.</param>
    /// <param name="files">The checkpoint's model files.</param>
    /// <param name="stack">Computes.</param>
    /// <exception cref="CheckpointException">The files are not a checkpoint of this method: an export has a backbone and no heads.</exception>
    /// <exception cref="SafetensorsException">A file is damaged.</exception>
    public static EnergyModel Open(EnergySetup setup, IReadOnlyList<string> files, ITorchStack stack)
    {
        var method = Create(setup, files);
        try
        {
            if (setup.Float64)
                BankPrecision.ToFloat64(method.Network);
            new TensorSet(method.Network.state_dict().Select(t => (t.Key, t.Value))).Load(files);
        }
        catch
        {
            method.Dispose();
            throw;
        }

        method.Network.eval();
        return new EnergyModel(setup, method, files[0], stack);
    }

    /// <summary>A single rank's share of a batch.</summary>
    public static RankShare Share(int batch) => new(new SingleRank(), [batch]);

    /// <summary>The energy of every image with every other and itself: row x, column y.</summary>
    /// <param name="images">Bytes [n, S, S, 3].</param>
    /// <param name="progress">Told how many pairs are done, of n², or of n (n + 1) / 2 where the energy is symmetric.</param>
    /// <param name="stop">Ends the work between two chunks of pairs.</param>
    /// <exception cref="CheckpointException">The method gives no finite number for a pair.</exception>
    public double[,] Matrix(Tensor images, IProgress<int>? progress = null, CancellationToken stop = default)
    {
        var n = (int)images.shape[0];
        var pairs = Pairs(n, IsSymmetric).ToList();
        var energies = Of(images, images, [.. pairs.Select(pair => (long)pair.X)], [.. pairs.Select(pair => (long)pair.Y)], progress, stop);
        var matrix = new double[n, n];
        foreach (var ((x, y), energy) in pairs.Zip(energies))
        {
            matrix[x, y] = energy;
            if (IsSymmetric)
                matrix[y, x] = energy;
        }

        return matrix;
    }

    /// <summary>The pairs that a matrix of n images computes: all, or those on and above the diagonal.</summary>
    internal static IEnumerable<(int X, int Y)> Pairs(int n, bool symmetric) =>
        from x in Enumerable.Range(0, n) from y in Enumerable.Range(0, n) where !symmetric || x <= y select (x, y);

    /// <summary>The energy of chosen pairs.</summary>
    /// <param name="x">Bytes [n, S, S, 3].</param>
    /// <param name="y">Bytes [m, S', S', 3].</param>
    /// <param name="first">Of each pair, its image in x.</param>
    /// <param name="second">Of each pair, its image in y.</param>
    /// <param name="progress">Told how many pairs are done.</param>
    /// <param name="stop">Ends the work between two chunks of pairs.</param>
    /// <exception cref="CheckpointException">The method gives no finite number for a pair.</exception>
    public double[] Of(
        Tensor x, Tensor y, IReadOnlyList<long> first, IReadOnlyList<long> second, IProgress<int>? progress = null, CancellationToken stop = default)
    {
        using var _ = no_grad();
        var energies = new List<double>(first.Count);
        foreach (var chunk in first.Zip(second).Chunk(Chunk))
        {
            stop.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var energy = _method.Energy(Normalized(x, chunk.Select(p => p.First)), Normalized(y, chunk.Select(p => p.Second)));
            energies.AddRange(energy.to(ScalarType.Float64).cpu().data<double>().ToArray());
            progress?.Report(energies.Count);
        }

        return energies.TrueForAll(double.IsFinite)
            ? [.. energies]
            : throw new CheckpointException($"'{_where}': {_method.Name} gives an energy that is not finite, because its network diverged; take an earlier checkpoint (darkmatter checkpoints list)");
    }

    /// <summary>Frees the networks.</summary>
    public void Dispose() => _method.Dispose();

    private static IMethod Create(EnergySetup setup, IReadOnlyList<string> files)
    {
        using var parts = SafetensorsParts.Open(files);
        if (!parts.Tensors.Any(tensor => tensor.Name.StartsWith(BackbonePrefix, StringComparison.Ordinal)))
            throw new CheckpointException($"'{parts.Name}': energy needs all of {setup.Method.Name}, heads included, as a checkpoint has it and an export has not; give the checkpoint's folder, or the run's");
        try
        {
            return setup.Method.Create(setup.Setup with { Images = ImageMemory.ImagesIn(parts.Tensors) });
        }
        catch (ArgumentException e)
        {
            throw new CheckpointException($"'{parts.Name}' does not fit the recipe: {e.Message}. Use the recipe it was written with.", e);
        }
    }

    private Tensor Normalized(Tensor images, IEnumerable<long> chosen)
    {
        var x = _stack.Normalize(images.index_select(0, tensor(chosen.ToArray())).contiguous(), [.. _setup.Mean], [.. _setup.Std]);
        return _setup.Float64 ? x.to(ScalarType.Float64) : x;
    }
}
