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
            return n.Rows(n.BothViews(), "teacher_backbone", "teacher_head").Select(t => Rows.Softmax(t.Zip(centre, (v, c) => (v - c) / temperature))).Chunk(Images).ToArray();
        },
        (n, teacher) =>
        {
            double[][][] student = [.. n.Rows(n.Features(), "head").Select(s => Rows.Softmax(s.Select(v => v / 0.1))).Chunk(Images)];
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
            var head = (nn.Module<Tensor, Tensor>)method.Network.named_children().Single(c => c.name == "teacher_head").module;
            var backbone = (nn.Module<Tensor, Tensor>)method.Network.named_children().Single(c => c.name == "teacher_backbone").module;
            mean = SmallMethods.Doubles(head.call(backbone.call(x[0])).mean([0]));
        }

        method.Loss(x);
        method.AfterUpdate(1, 100);
        SmallMethods.Doubles(method.Network.get_buffer("centre.value")!).ShouldBe([.. mean.Select(v => 0.1 * v)], 1e-12);
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
}
