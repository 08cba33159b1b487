using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

[Collection(TorchCollection.Name)]
public sealed class PirlTests
{
    private const int N = 4, D = 5, K = 6;
    private const long M = 20;
    private const int Images = SmallMethods.Images;

    [Fact]
    public void Nce_RandomRows_EqualsTheProbabilitiesWrittenOut()
    {
        using var scope = NewDisposeScope();
        var (e, own, negative) = (Rows.Unit(Rows.Random(N, D, 1)), Rows.Unit(Rows.Random(N, D, 2)), Rows.Unit(Rows.Random(K, D, 3)));
        const double Z = 150, Temperature = 0.4;
        double Model(double[] a, double[] b) => Math.Exp(Rows.Dot(a, b) / Temperature) / Z;
        const double Noise = (double)K / M;
        var expected = Enumerable.Range(0, N).Sum(i =>
            -Math.Log(Model(e[i], own[i]) / (Model(e[i], own[i]) + Noise)) - negative.Where((_, k) => !Same(i, k)).Sum(m => Math.Log(Noise / (Model(e[i], m) + Noise))));
        Pirl.Nce(Rows.Tensor(e), Rows.Tensor(own), Rows.Tensor(negative), Mask(), Temperature, Z, M).item<double>().ShouldBe(expected, 1e-10);
    }

    [Fact]
    public void InfoNce_RandomRows_LeavesOutTheImageItself()
    {
        using var scope = NewDisposeScope();
        var (e, own, negative) = (Rows.Unit(Rows.Random(N, D, 4)), Rows.Unit(Rows.Random(N, D, 5)), Rows.Unit(Rows.Random(K, D, 6)));
        double Power(double[] a, double[] b) => Math.Exp(Rows.Dot(a, b) / 0.3);
        var expected = Enumerable.Range(0, N).Sum(i =>
            -Math.Log(Power(e[i], own[i]) / (Power(e[i], own[i]) + negative.Where((_, k) => !Same(i, k)).Sum(m => Power(e[i], m)))));
        Pirl.InfoNce(Rows.Tensor(e), Rows.Tensor(own), Rows.Tensor(negative), Mask(), 0.3).item<double>().ShouldBe(expected, 1e-10);
    }

    [Fact]
    public void Losses_Gradients_EqualFiniteDifferences()
    {
        using var scope = NewDisposeScope();
        var (own, negative) = (Rows.Tensor(Rows.Random(N, D, 7)), Rows.Tensor(Rows.Random(K, D, 8)));
        Rows.ShouldHaveGradientOfDifferences(e => Pirl.Nce(e, own, negative, Mask(), 0.5, 90, M), Rows.Random(N, D, 9));
        Rows.ShouldHaveGradientOfDifferences(e => Pirl.InfoNce(e, own, negative, Mask(), 0.5), Rows.Random(N, D, 9));
    }

    /// <summary>Orthogonal maps keep all cosines, so nothing else can matter.</summary>
    [Fact]
    public void Losses_EverythingTurnedTogether_AreTheSame()
    {
        using var scope = NewDisposeScope();
        var (e, own, negative) = (Rows.Tensor(Rows.Random(N, D, 1)), Rows.Tensor(Rows.Random(N, D, 2)), Rows.Tensor(Rows.Random(K, D, 3)));
        var (turn, _, _) = linalg.svd(Rows.Tensor(Rows.Random(D, D, 4)));
        double Loss(Tensor a, Tensor b, Tensor c) => (Pirl.Nce(a, b, c, Mask(), 0.5, 90, M) + Pirl.InfoNce(a, b, c, Mask(), 0.5)).item<double>();
        Loss(e.matmul(turn), own.matmul(turn), negative.matmul(turn)).ShouldBe(Loss(e, own, negative), 1e-10);
    }

    /// <summary>Patches and image, half each, against what the memory has of the image after updates and of the images drawn for this step.</summary>
    [Theory]
    [InlineData("pirl", 5, 0.3)]
    [InlineData("pirl with two layers and softmax", 7, 0.2)]
    public void Loss_OfImages_IsThePapersOfTheNetworksOutputs(string setting, int negatives, double temperature) => WholeLoss.ShouldBe(
        setting, updates: 2,
        n =>
        {
            var memory = (ImageMemory)n.Method.Network.named_children().Single(c => c.name == "memory").module;
            var drawn = memory.Draw(negatives);
            drawn.Distinct().Count().ShouldBe(negatives);
            return (Memory: Rows.Of(memory.Rows(0, Images, ScalarType.Float64)), Drawn: drawn, Z: n.Kept("partition.z").item<double>());
        },
        (n, held) =>
        {
            var image = n.Unit(n.View(0), "backbone", "projector");
            Tensor[] tiles = [.. from i in Enumerable.Range(0, Images)
                                 from tile in Enumerable.Range(0, 9)
                                 select n.View(1).narrow(0, i, 1).narrow(2, tile / 3 * 8, 8).narrow(3, tile % 3 * 8, 8)];
            var patches = n.Unit(n.Through(cat(tiles), "backbone", "patch_projector").view(Images, 9 * 10), "patches_projector");
            double Nce(double[] e, int i)
            {
                double Data(double[] m) => Math.Exp(Rows.Dot(e, m) / temperature) / held.Z;
                var noise = (double)negatives / Images;
                return -Math.Log(Data(held.Memory[i]) / (Data(held.Memory[i]) + noise))
                    - held.Drawn.Where(k => k != i).Sum(k => Math.Log(noise / (Data(held.Memory[k]) + noise)));
            }

            double Softmax(double[] e, int i) =>
                Rows.Surprise(held.Drawn.Where(k => k != i).Select(k => held.Memory[k]).Prepend(held.Memory[i]).Select(m => Rows.Dot(e, m) / temperature), 0);

            Func<double[], int, double> term = setting == "pirl" ? Nce : Softmax;
            return Enumerable.Range(0, Images).Average(i => (term(patches[i], i) + term(image[i], i)) / 2);
        });

    [Fact]
    public void Memory_AfterAnUpdate_IsHalfTheImageEmbeddingAndUnitAgain()
    {
        using var scope = NewDisposeScope();
        using var method = SmallMethods.Create("pirl", new SingleRank(1), [Images], ScalarType.Float64);
        var memory = (ImageMemory)method.Network.named_children().Single(c => c.name == "memory").module;
        Tensor Remembered() => memory.Read([.. Enumerable.Range(0, Images).Select(i => (long)i)], ScalarType.Float64);
        var before = Remembered();
        var embeddings = method.Loss(SmallMethods.Views("pirl", 0, [Images], ScalarType.Float64, 0)).Embeddings.narrow(0, 0, Images);    // the images', not the patches'
        (Remembered() - before).abs().max().item<double>().ShouldBe(0, "the loss leaves it alone");
        method.AfterUpdate(1, 10);
        var expected = nn.functional.normalize((before + embeddings) / 2, dim: 1);
        (Remembered() - expected).abs().max().item<double>().ShouldBeLessThan(1e-12);
        method.Network.get_buffer("partition.z")!.item<double>().ShouldBeGreaterThan(0, "the first batch fixes Z");
    }

    [Fact]
    public void Patches_OfTheSecondView_AreItsNineTilesInRowOrder()
    {
        using var scope = NewDisposeScope();
        using var method = SmallMethods.Create("pirl", new SingleRank(1), [Images], ScalarType.Float64);
        var views = SmallMethods.Views("pirl", 0, [Images], ScalarType.Float64, 0);
        var swapped = views[1].clone();                                       // tile (0, 1) and tile (1, 0) change places
        swapped.narrow(2, 0, 8).narrow(3, 8, 8).copy_(views[1].narrow(2, 8, 8).narrow(3, 0, 8));
        swapped.narrow(2, 8, 8).narrow(3, 0, 8).copy_(views[1].narrow(2, 0, 8).narrow(3, 8, 8));
        var nine = Pirl.Tiles(views[1]).view(Images, 9, 3, 8, 8);
        var exchanged = Pirl.Tiles(swapped).view(Images, 9, 3, 8, 8);
        foreach (var (place, from) in ((int[])[0, 3, 2, 1, 4, 5, 6, 7, 8]).Index())
            (exchanged.select(1, place) - nine.select(1, from)).abs().max().item<double>().ShouldBe(0, $"tile {place}");
        (nine.select(1, 5) - views[1].narrow(2, 8, 8).narrow(3, 16, 8)).abs().max().item<double>().ShouldBe(0);
    }

    [Fact]
    public void Create_ThingsThatDoNotFit_AreRefusedWithTheReason()
    {
        MethodSetup Setup(long images, params int[] sizes) =>
            new(new ResNetOptions { Width = 8 }, new Normalization(TorchStack.Current, null), Rows.OneRank(4), sizes) { Images = images };
        Should.Throw<ArgumentException>(() => new PirlOptions().Create(Setup(0, 16, 24))).Message.ShouldContain("the number of images in the dataset");
        Should.Throw<ArgumentException>(() => new PirlOptions { Negatives = 100 }.Create(Setup(100, 16, 24))).Message.ShouldContain("set at most 99");
        Should.Throw<ArgumentException>(() => new PirlOptions().Create(Setup(100, 16, 25))).Message.ShouldContain("3 must divide its size, 25");
        using var method = new PirlOptions { Negatives = 5, ProjectorOutput = 4 }.Create(Setup(100, 16, 24));
        Should.Throw<InvalidOperationException>(() => method.Loss([zeros(4, 3, 16, 16), zeros(4, 3, 24, 24)])).Message.ShouldContain("have a number in the dataset");
    }

    /// <summary>Row 1 and negative 2 are the same image.</summary>
    private static bool Same(int row, int negative) => row == 1 && negative == 2;

    private static Tensor Mask() =>
        tensor([.. Enumerable.Range(0, N * K).Select(i => Same(i / K, i % K))], dtype: ScalarType.Bool).view(N, K);
}
