using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Methods;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Evaluation;

[Collection(TorchCollection.Name)]
public sealed class EnergyModelTests : IDisposable
{
    private const int Size = SmallMethods.Size;
    private readonly string _folder = Directory.CreateTempSubdirectory("energy").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>No dataset is there, also for the methods that remember every image of theirs.</summary>
    [Theory]
    [MemberData(nameof(SmallMethods.Names), MemberType = typeof(SmallMethods))]
    public void Matrix_OfACheckpointAlone_IsTheMethodsEnergyOfEachPair(string name)
    {
        using var scope = NewDisposeScope();
        using var method = Method(name);
        using var model = EnergyModel.Open(Setup(name), [Saved(method)], TorchStack.Current);
        var (images, reports) = (Images(4), new List<int>());
        var matrix = model.Matrix(images, new Seen(reports));

        method.Network.eval();
        using var _ = no_grad();
        var x = TorchStack.Current.Normalize(images, [0.5f, 0.5f, 0.5f], [0.25f, 0.25f, 0.25f]);
        foreach (var (row, column) in EnergyModel.Pairs(4, symmetric: false))
            matrix[row, column].ShouldBe(method.Energy(x.narrow(0, row, 1), x.narrow(0, column, 1)).item<float>(), 1e-4, $"({row}, {column})");
        model.IsSymmetric.ShouldBe(method.EnergyIsSymmetric);
        reports.ShouldBe([model.IsSymmetric ? 10 : 16]);
    }

    [Fact]
    public void Matrix_Cancelled_StopsBeforeTheNextChunk()
    {
        using var scope = NewDisposeScope();
        using var method = Method("moco");
        using var model = EnergyModel.Open(Setup("moco"), [Saved(method)], TorchStack.Current);
        using var stop = new CancellationTokenSource();
        var reports = new List<int>();
        // 400 pairs are more than three chunks.
        Should.Throw<OperationCanceledException>(() => model.Matrix(Images(20), new Seen(reports, stop.Cancel), stop.Token));
        reports.ShouldBe([128]);
    }

    [Fact]
    public void Of_NetworkThatDiverged_SaysSoAndWhatToDo()
    {
        using var scope = NewDisposeScope();
        using var method = Method("simclr");
        using (no_grad())
            method.Network.parameters().First().fill_(double.NaN);
        using var model = EnergyModel.Open(Setup("simclr"), [Saved(method)], TorchStack.Current);
        var refused = Should.Throw<CheckpointException>(() => model.Matrix(Images(2))).Message;
        refused.ShouldContain("simclr.safetensors");
        refused.ShouldContain("diverged; take an earlier checkpoint");
    }

    [Theory]
    [InlineData("simclr")]
    [InlineData("pirl")]
    public void Open_Export_SaysThatHeadsAreMissing(string name)
    {
        using var method = Method(name);
        var path = Path.Combine(_folder, "encoder.safetensors");
        BackboneExport.Write(method.Backbone, path, [0, 0, 0], [1, 1, 1], Size);
        Should.Throw<CheckpointException>(() => EnergyModel.Open(Setup(name), [path], TorchStack.Current))
            .Message.ShouldContain($"energy needs all of {name}, heads included");
    }

    [Fact]
    public void Open_AnotherRecipe_SaysWhatDoesNotFit()
    {
        using var method = Method("pirl");
        var path = Saved(method);
        Should.Throw<CheckpointException>(() => EnergyModel.Open(Setup(new PirlOptions { Negatives = 20, ProjectorOutput = 10 }, [Size, 24]), [path], TorchStack.Current))
            .Message.ShouldContain("the dataset has 12");
        Should.Throw<CheckpointException>(() => EnergyModel.Open(Setup("simclr"), [path], TorchStack.Current))
            .Message.ShouldContain("Use the recipe it was written with.");
    }

    [Fact]
    public void Open_FileThatIsCutOff_IsRefused()
    {
        using var method = Method("simclr");
        var path = Saved(method);
        File.WriteAllBytes(path, File.ReadAllBytes(path)[..^100]);
        Should.Throw<SafetensorsException>(() => EnergyModel.Open(Setup("simclr"), [path], TorchStack.Current)).Message.ShouldContain(path);
    }

    [Fact]
    public void ImagesIn_MemoryOfSeveralPartitions_CountsThemAll()
    {
        const long Images = ImageMemory.PartitionRows + 100;
        using var memory = new ImageMemory(Images, 2, 3, new BankOptions());
        var entries = memory.state_dict().SelectMany(t => (string[])["memory0.", "memory1."], (t, module) => new SafetensorsEntry(module + t.Key, SafetensorsType.Float32, t.Value.shape, 0, 0));
        ImageMemory.ImagesIn(entries).ShouldBe(Images);
        ImageMemory.ImagesIn([new SafetensorsEntry("queue.keys", SafetensorsType.Float32, [9, 3], 0, 0)]).ShouldBe(0);
    }

    /// <summary>As a run builds it: some of PIRL's state is float64 in any precision.</summary>
    private static IMethod Method(string name)
    {
        manual_seed(5);
        return Setup(name).Method.Create(Setup(name).Setup with { Images = SmallMethods.Images });
    }

    private static EnergySetup Setup(string name) => Setup(SmallMethods.All[name].Options, SmallMethods.All[name].ViewSizes);

    private static EnergySetup Setup(MethodOptions options, int[] sizes)
    {
        var norm = new Normalization(TorchStack.Current, null);
        var setup = new MethodSetup(new ResNetOptions { Width = 8, Stem = ResNetStem.Small }, norm, EnergyModel.Share(SmallMethods.Images), sizes);
        return new EnergySetup(options, setup, [0.5f, 0.5f, 0.5f], [0.25f, 0.25f, 0.25f], Float64: false);
    }

    private string Saved(IMethod method)
    {
        var path = Path.Combine(_folder, method.Name + ".safetensors");
        SafetensorsWriter.Write(path, new TensorSet(method.Network.state_dict().Select(t => (t.Key, t.Value))).Capture());
        return path;
    }

    private static Tensor Images(int count)
    {
        var bytes = new byte[count * Size * Size * 3];
        new Random(4).NextBytes(bytes);
        return tensor(bytes, [count, Size, Size, 3]);
    }

    private sealed class Seen(List<int> seen, Action? then = null) : IProgress<int>
    {
        public void Report(int value)
        {
            seen.Add(value);
            then?.Invoke();
        }
    }
}
