using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

[Collection(TorchCollection.Name)]
public sealed class DinoTests
{
    private const int N = 4, K = 5;
    private const int Images = SmallMethods.Images;

    [Fact]
    public void CrossEntropyOfDistribution_RandomOutputs_EqualsTheSumWrittenOut()
    {
        using var scope = NewDisposeScope();
        var (t, s, centre) = (Rows.Random(N, K, 1), Rows.Random(N, K, 2), Rows.Random(1, K, 3)[0]);
        double[] Softmax(IEnumerable<double> logits)
        {
            double[] powers = [.. logits.Select(Math.Exp)];
            return [.. powers.Select(p => p / powers.Sum())];
        }

        double[] expected = [.. t.Zip(s, (a, b) =>
        {
            var (teacher, student) = (Softmax(a.Zip(centre, (v, c) => (v - c) / 0.05)), Softmax(b.Select(v => v / 0.1)));
            return -teacher.Zip(student, (p, q) => p * Math.Log(q)).Sum();
        })];
        var distribution = Dino.Distribution(Rows.Tensor(t), Rows.Tensor([centre]), 0.05);
        SmallMethods.Doubles(SwAv.CrossEntropy(distribution, Rows.Tensor(s) / 0.1)).ShouldBe(expected, 1e-10);
        var shifted = Dino.Distribution(Rows.Tensor(t) + 3, Rows.Tensor([centre]) + 3, 0.05);
        (shifted - distribution).abs().max().item<double>().ShouldBeLessThan(1e-12, "what the teacher and the centre share changes nothing");
    }

    [Fact]
    public void CrossEntropy_Gradient_EqualsFiniteDifferences()
    {
        using var scope = NewDisposeScope();
        var t = Dino.Distribution(Rows.Tensor(Rows.Random(N, K, 4)), zeros(K, dtype: ScalarType.Float64), 0.1);
        Rows.ShouldHaveGradientOfDifferences(s => SwAv.CrossEntropy(t, s / 0.5).sum(), Rows.Random(N, K, 5));
    }

    /// <summary>The first setting is in the middle of the teacher's warm-up, at half of 0.04 and 0.07.</summary>
    [Theory]
    [InlineData("dino", 1, 2, 0.055)]
    [InlineData("dino with small crops", 3, 3, 0.04)]
    public void Loss_OfImages_IsThePapersOfTheNetworksOutputs(string setting, int updates, int views, double temperature) => WholeLoss.ShouldBe(
        setting, updates,
        n =>
        {
            var centre = SmallMethods.Doubles(n.Kept("centre.value"));
            centre.ShouldContain(c => Math.Abs(c) > 1e-3, "it has moved");
            return Cosines(n, n.BothViews(), "teacher_backbone", "teacher_head").Select(t => Rows.Softmax(t.Zip(centre, (v, c) => (v - c) / temperature))).Chunk(Images).ToArray();
        },
        (n, teacher) =>
        {
            double[][][] student = [.. Cosines(n, n.Features(), "head").Select(s => Rows.Softmax(s.Select(v => v / 0.1))).Chunk(Images)];
            var pairs = from a in Enumerable.Range(0, 2)
                        from v in Enumerable.Range(0, views)
                        where v != a
                        from i in Enumerable.Range(0, Images)
                        select Rows.CrossEntropy(teacher[a][i], student[v][i]);
            return pairs.Sum() / (2 * (views - 1) * Images);
        });

    [Fact]
    public void Centre_AfterAnUpdate_IsATenthOfTheMeanTeacherOutput()
    {
        using var scope = NewDisposeScope();
        using var method = SmallMethods.Create("dino", new SingleRank(1), [Images], ScalarType.Float64);
        var x = SmallMethods.Views("dino", 0, [Images], ScalarType.Float64, 0);
        double[] mean;
        using (no_grad())
        {
            // The teacher starts as a copy: the student's head on the student's features of both views together.
            var head = (DinoHead)method.Network.named_children().Single(c => c.name == "teacher_head").module;
            var backbone = (nn.Module<Tensor, Tensor>)method.Network.named_children().Single(c => c.name == "teacher_backbone").module;
            mean = SmallMethods.Doubles(head.Cosines(head.call(backbone.call(x[0]))).mean([0]));
        }

        method.Loss(x);
        method.AfterUpdate(1, 100);
        SmallMethods.Doubles(method.Network.get_buffer("centre.value")!).ShouldBe([.. mean.Select(v => 0.1 * v)], 1e-12);
    }

    /// <summary>What bfloat16 rounds of a cosine, 0.002, would be 0.05 of a logit.</summary>
    [Fact]
    public void Loss_UnderAutocast_TakesCosinesInFloat32()
    {
        using var scope = NewDisposeScope();
        using var head = new DinoHead(8, new DinoOptions { Hidden = 8, Bottleneck = 8, Outputs = 6, NormalizeHead = true }, new Normalization(TorchStack.Current, null));
        var bottleneck = Rows.Tensor(Rows.Random(N, 8, 6)).to(ScalarType.Float32);
        var cosines = head.Cosines(bottleneck);
        using (TorchStack.Current.Autocast(true))
            head.call(bottleneck);
        cosines.dtype.ShouldBe(ScalarType.Float32);
        var rounded = (cosines - cosines.to(ScalarType.BFloat16).to(ScalarType.Float32)).abs().max().item<float>();
        rounded.ShouldBeGreaterThan(0, "cosines that went through bfloat16 would not change by rounding to it");
    }

    [Fact]
    public void Export_OfDino_IsTheTeacher()
    {
        using var scope = NewDisposeScope();
        using var method = SmallMethods.Create("dino", new SingleRank(1), [Images], ScalarType.Float32);
        using (no_grad())
        {
            foreach (var (name, parameter) in method.Network.named_parameters().Where(p => p.name.StartsWith("teacher_backbone.", StringComparison.Ordinal)))
                parameter.fill_(0.25);
        }

        var folder = Directory.CreateTempSubdirectory("dino");
        var file = Path.Combine(folder.FullName, "model.safetensors");
        SafetensorsWriter.Write(file, new TensorSet(method.Network.state_dict().Select(t => (t.Key, t.Value))).Capture());
        var model = new ResNetOptions { Width = 8, Stem = ResNetStem.Small };
        using var exported = BackboneExport.Read(model, [file], TorchStack.Current, new DinoOptions().ExportedPart);
        exported.named_parameters().ShouldAllBe(p => p.parameter.eq(0.25).all().item<bool>());
        using var trained = BackboneExport.Read(model, [file], TorchStack.Current, new SimClrOptions().ExportedPart);
        trained.named_parameters().ShouldContain(p => !p.parameter.eq(0.25).all().item<bool>());
        folder.Delete(recursive: true);
    }

    [Theory]
    [InlineData(0, 0.04)]
    [InlineData(5, 0.05)]
    [InlineData(10, 0.06)]
    [InlineData(99, 0.06)]
    public void TeacherTemperature_WarmsUpLinearly(long step, double expected) =>
        new DinoOptions { WarmupTeacherTemperature = 0.04, TeacherTemperature = 0.06, TeacherWarmupSteps = 10 }.TeacherTemperatureAt(step).ShouldBe(expected, 1e-12);

    [Fact]
    public void Create_FirstTwoViewsOfDifferentSizes_IsRefusedWithTheReason() =>
        Should.Throw<ArgumentException>(() => new DinoOptions { Outputs = 8 }.Create(
                new MethodSetup(new ResNetOptions { Width = 8 }, new Normalization(TorchStack.Current, null), Rows.OneRank(4), [16, 8, 8])))
            .Message.ShouldContain("the teacher sees the first two views");

    /// <summary>What a head's bottleneck and its K directions have in common.</summary>
    private static double[][] Cosines(Networks n, Tensor x, params string[] parts)
    {
        var directions = Rows.Unit(Rows.Of(n.Kept(parts[^1] + ".last.weight")));
        return [.. n.Unit(x, parts).Select(b => directions.Select(d => Rows.Dot(b, d)).ToArray())];
    }
}
