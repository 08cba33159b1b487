using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

/// <summary>What the papers' losses do not mind: a turn of all embeddings, their lengths, an exchange of the views, another order of the images; and what they do mind.</summary>
[Collection(TorchCollection.Name)]
public sealed class InvarianceTests
{
    private const int N = 6, D = 5;
    private const int Images = SmallMethods.Images;

    /// <summary>Every loss that compares embeddings with each other, as a function of both views' embeddings [N, D].</summary>
    private static readonly Dictionary<string, Func<Tensor, Tensor, Tensor>> Losses = new()
    {
        ["simclr"] = (a, b) => Both(a, b, (z, share) => SimClr.NtXent(z, z, share, 0.3)),
        ["triplet"] = (a, b) => Both(a, b, (z, share) => Triplet.Objective(z, z, share, 0.4, hardest: false)),
        ["contrastive_margin"] = (a, b) => ContrastiveMargin.Objective(a, b, Rows.OneRank(N), 2),
        ["byol"] = (a, b) => Byol.Regression(a, b).sum(),
        ["simsiam"] = (a, b) => SimSiam.D(a, b).sum(),
        ["moco"] = (a, b) => MoCo.InfoNce(Unit(a), Unit(b), Unit(b).roll(1, 0), 0.2).sum(),
        ["moco_v3"] = (a, b) => MoCoV3.Contrast(Unit(a), Unit(b), Rows.OneRank(N), 0.5),
    };

    public static TheoryData<string> Names => [.. Losses.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void Loss_AllEmbeddingsTurned_IsTheSame(string name)
    {
        using var scope = NewDisposeScope();
        var (a, b) = (Rows.Tensor(Rows.Random(N, D, 1)), Rows.Tensor(Rows.Random(N, D, 2)));
        var (turn, _, _) = linalg.svd(Rows.Tensor(Rows.Random(D, D, 3)));
        var expected = Losses[name](a, b).item<double>();
        Losses[name](a.matmul(turn), b.matmul(turn)).item<double>().ShouldBe(expected, 1e-10, "turned");
        Math.Abs(Losses[name](a, b.matmul(turn)).item<double>() - expected).ShouldBeGreaterThan(1e-3, "the views are compared");
    }

    /// <summary>From images on, and after updates, so that no target is the same as what is compared with it.</summary>
    [Theory]
    [InlineData("simclr")]
    [InlineData("triplet")]
    [InlineData("contrastive_margin")]
    [InlineData("byol")]
    [InlineData("simsiam")]
    [InlineData("moco_v3")]
    [InlineData("swav")]
    [InlineData("dino")]
    [InlineData("dino with small crops")]
    [InlineData("deepcluster_v2")]
    [InlineData("barlow_twins")]
    [InlineData("vicreg")]
    public void Loss_FirstTwoViewsExchanged_IsTheSame(string setting) => Compare(setting, x =>
    {
        var (first, second, small) = (x[0].narrow(0, 0, Images), x[0].narrow(0, Images, Images), x.Skip(1));
        return [cat([second, first]), .. small];
    }, (exchanged, loss) => exchanged.ShouldBe(loss, 1e-10 * Math.Max(1, Math.Abs(loss))));

    [Theory]
    [MemberData(nameof(SmallMethods.Names), MemberType = typeof(SmallMethods))]
    public void Loss_SecondViewsOfOtherImages_IsAnother(string setting) => Compare(setting, x => x[0].shape[0] > Images
        ? [cat([x[0].narrow(0, 0, Images), x[0].narrow(0, Images, Images).roll(1, 0), x[0].narrow(0, 2 * Images, x[0].shape[0] - (2 * Images))]), .. x.Skip(1)]
        : [x[0], x[1].roll(1, 0)], (rolled, loss) => Math.Abs(rolled - loss).ShouldBeGreaterThan(1e-4 * Math.Abs(loss)));

    [Theory]
    [InlineData("simclr")]
    [InlineData("triplet")]
    [InlineData("byol")]
    [InlineData("simsiam")]
    [InlineData("moco")]
    [InlineData("moco_v3")]
    public void Loss_OfUnitVectors_DoesNotMindLengths(string name)
    {
        using var scope = NewDisposeScope();
        var (a, b) = (Rows.Tensor(Rows.Random(N, D, 4)), Rows.Tensor(Rows.Random(N, D, 5)));
        var lengths = Rows.Tensor([.. Rows.Random(N, 1, 6).Select(row => new[] { Math.Exp(row[0]) })]);
        Losses[name](a * lengths, b / lengths).item<double>().ShouldBe(Losses[name](a, b).item<double>(), 1e-10);
    }

    [Theory]
    [InlineData("simclr")]
    [InlineData("triplet")]
    [InlineData("contrastive_margin")]
    [InlineData("moco_v3")]
    public void Loss_ImagesInAnotherOrder_IsTheSame(string name)
    {
        using var scope = NewDisposeScope();
        var (a, b) = (Rows.Tensor(Rows.Random(N, D, 7)), Rows.Tensor(Rows.Random(N, D, 8)));
        var order = tensor(new long[] { 4, 2, 0, 5, 1, 3 });
        Losses[name](a.index_select(0, order), b.index_select(0, order)).item<double>().ShouldBe(Losses[name](a, b).item<double>(), 1e-10);
    }

    [Fact]
    public void Gradients_OfMoCoV3AndOfSwAv_EqualFiniteDifferences()
    {
        using var scope = NewDisposeScope();
        var k = Unit(Rows.Tensor(Rows.Random(N, D, 9)));
        Rows.ShouldHaveGradientOfDifferences(q => MoCoV3.Contrast(q, k, Rows.OneRank(N), 0.5), Rows.Random(N, D, 10));
        var code = Sinkhorn.Assign(Rows.Tensor(Rows.Random(N, D, 11)), 0.1, 3, new SingleRank(1));
        Rows.ShouldHaveGradientOfDifferences(scores => SwAv.CrossEntropy(code, scores / 0.3).sum(), Rows.Random(N, D, 12));
    }

    /// <summary>A trained method's loss of a step's views, and of what is made of them.</summary>
    private static void Compare(string setting, Func<IReadOnlyList<Tensor>, IReadOnlyList<Tensor>> change, Action<double, double> compare) =>
        SmallMethods.Train(setting, new SingleRank(1), [Images], ScalarType.Float64, steps: 2, method =>
        {
            using var _ = no_grad();
            var x = SmallMethods.Views(setting, 0, [Images], ScalarType.Float64, step: 2);
            compare(method.Loss(change(x)).Value.item<double>(), method.Loss(x).Value.item<double>());
        }, SmallMethods.GentleRate(setting));

    private static Tensor Both(Tensor a, Tensor b, Func<Tensor, RankShare, Tensor> loss) => loss(Unit(cat([a, b])), Rows.OneRank(N));

    private static Tensor Unit(Tensor z) => nn.functional.normalize(z, dim: 1);
}
