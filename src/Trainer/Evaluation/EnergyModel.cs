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

    private readonly EnergySetup _setup;
    private readonly IMethod _method;
    private readonly ITorchStack _stack;

    private EnergyModel(EnergySetup setup, IMethod method, ITorchStack stack) => (_setup, _method, _stack) = (setup, method, stack);

    /// <summary>Builds the method and reads a checkpoint into it.</summary>
    /// <param name="setup">What the checkpoint's recipe describes.</param>
    /// <param name="files">The checkpoint's model files.</param>
    /// <param name="stack">Computes.</param>
    /// <exception cref="CheckpointException">The files are not a checkpoint of this method: an export has a backbone and no heads.</exception>
    /// <exception cref="SafetensorsException">A file is damaged.</exception>
    public static EnergyModel Open(EnergySetup setup, IReadOnlyList<string> files, ITorchStack stack)
    {
        var method = setup.Method.Create(setup.Setup);
        try
        {
            if (setup.Float64)
                BankPrecision.ToFloat64(method.Network);
            new TensorSet(method.Network.state_dict().Select(t => (t.Key, t.Value))).Load(files);
        }
        catch (CheckpointException e)
        {
            method.Dispose();
            throw new CheckpointException($"energy needs all of {setup.Method.Name}, heads included, as a checkpoint has it and an export has not: {e.Message}", e);
        }
        catch
        {
            method.Dispose();
            throw;
        }

        method.Network.eval();
        return new EnergyModel(setup, method, stack);
    }

    /// <summary>A single rank's share of a batch.</summary>
    public static RankShare Share(int batch) => new(new SingleRank(), [batch]);

    /// <summary>The energy of every image with every other and itself: row x, column y.</summary>
    /// <param name="images">Bytes [n, S, S, 3].</param>
    public double[,] Matrix(Tensor images)
    {
        var n = (int)images.shape[0];
        var pairs = Enumerable.Range(0, n * n).ToArray();
        var energies = Of(images, images, [.. pairs.Select(p => (long)(p / n))], [.. pairs.Select(p => (long)(p % n))]);
        var matrix = new double[n, n];
        foreach (var p in pairs)
            matrix[p / n, p % n] = energies[p];
        return matrix;
    }

    /// <summary>The energy of chosen pairs.</summary>
    /// <param name="x">Bytes [n, S, S, 3].</param>
    /// <param name="y">Bytes [m, S, S, 3].</param>
    /// <param name="first">Of each pair, its image in x.</param>
    /// <param name="second">Of each pair, its image in y.</param>
    /// <exception cref="ArgumentException">The method gives no finite number for a pair.</exception>
    public double[] Of(Tensor x, Tensor y, IReadOnlyList<long> first, IReadOnlyList<long> second)
    {
        using var _ = no_grad();
        var energies = new List<double>(first.Count);
        foreach (var chunk in first.Zip(second).Chunk(Chunk))
        {
            using var scope = NewDisposeScope();
            var energy = _method.Energy(Normalized(x, chunk.Select(p => p.First)), Normalized(y, chunk.Select(p => p.Second)));
            energies.AddRange(energy.to(ScalarType.Float64).cpu().data<double>().ToArray());
        }

        return energies.TrueForAll(double.IsFinite) ? [.. energies] : throw new ArgumentException($"{_method.Name} gives an energy that is not finite; the network diverged");
    }

    /// <summary>Frees the networks.</summary>
    public void Dispose() => _method.Dispose();

    private Tensor Normalized(Tensor images, IEnumerable<long> chosen)
    {
        var x = _stack.Normalize(images.index_select(0, tensor(chosen.ToArray())).contiguous(), [.. _setup.Mean], [.. _setup.Std]);
        return _setup.Float64 ? x.to(ScalarType.Float64) : x;
    }
}
