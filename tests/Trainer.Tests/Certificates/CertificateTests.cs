using DarkMatter.Trainer.Certificates;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Training;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Certificates;

/// <summary>A small <c>darkmatter certify</c> for every registered method, and proof that it sees what it is there for.</summary>
[Collection(TorchCollection.Name)]
public sealed class CertificateTests
{
    private static readonly CertificateOptions Small = new() { Worlds = [3], Steps = 3 };

    public static TheoryData<string> Methods => [.. MethodRegistry.Names];

    [Theory]
    [MemberData(nameof(Methods))]
    public async Task Measure_RegisteredMethod_ThreeRanksTrainAsOne(string method)
    {
        foreach (var certified in CertificateCase.Of(method))
        {
            var rows = await Certificate.MeasureAsync(certified, Small with { Precisions = [Precision.Float64] });
            rows.ShouldHaveSingleItem().Failures.ShouldBeEmpty();
            rows[0].Gradient.Relative.ShouldBeGreaterThan(0, "sums in another order round differently: something was compared");
        }
    }

    [Fact]
    public async Task Measure_SimClr_PassesInBothPrecisionsAndOneRankIsItselfToTheBit()
    {
        var rows = await Certificate.MeasureAsync(CertificateCase.Of("simclr")[0], Small with { Worlds = [1, 2] });
        rows.ShouldAllBe(row => row.Passed);
        rows.Where(row => row.World == 1).ShouldAllBe(row => row.Loss.Relative == 0 && row.Gradient.Relative == 0 && row.State.Relative == 0);
        rows.Select(row => (row.Precision, row.World)).ShouldBe([(Precision.Float64, 1), (Precision.Float64, 2), (Precision.Float32, 1), (Precision.Float32, 2)]);
    }

    [Theory]
    [InlineData(Precision.Float64)]
    [InlineData(Precision.Float32)]
    public async Task Measure_GatherThatForgetsTheSum_IsCaughtAndNamed(Precision precision)
    {
        var planted = new CertificateCase("planted", new ForgetfulOptions(), [12, 12]);
        var row = (await Certificate.MeasureAsync(planted, Small with { Worlds = [2], Precisions = [precision] })).ShouldHaveSingleItem();
        row.Loss.Relative.ShouldBeLessThan(precision == Precision.Float64 ? 0.05 : 1e-5, "the loss alone would not tell");
        row.Gradient.Relative.ShouldBeGreaterThan(0.01);
        var failure = row.Failures.First(f => f.Contains("the gradient of", StringComparison.Ordinal));
        failure.ShouldStartWith($"planted: with 2 ranks in {precision.ToString().ToLowerInvariant()}, the gradient of ");
        failure.ShouldContain(row.Gradient.Where);
    }

    [Fact]
    public async Task Measure_ImpossibleOptions_AreAllNamed() =>
        (await Should.ThrowAsync<ArgumentException>(() => Certificate.MeasureAsync(
            CertificateCase.Of("simclr")[0], new CertificateOptions { Worlds = [0, 17], Precisions = [Precision.BFloat16], Steps = 0 })))
            .Message.ShouldSatisfyAllConditions(
                m => m.ShouldContain("world 0 is outside 1..16"), m => m.ShouldContain("world 17"),
                m => m.ShouldContain("precision BFloat16 is not certified"), m => m.ShouldContain("0 steps"));

    /// <summary>SimCLR whose gather gives each rank only the gradient of its own loss for its own rows: the classic 1/W bug.</summary>
    private sealed record ForgetfulOptions : MethodOptions
    {
        public override string Name => "planted";

        public override MethodOptions Read(IOptionReader given) => this;

        public override IMethod Create(MethodSetup setup) => new Forgetful(this, setup);
    }

    private sealed class Forgetful(ForgetfulOptions options, MethodSetup setup) : JointEmbedding(options, setup)
    {
        public override MethodLoss Loss(Tensor x)
        {
            var z = Unit(Through(x, Backbone));
            var all = Share.Ranks.AllGather(z, [.. Share.Counts.Select(n => 2 * n)]);
            var before = 2 * Share.Offset;
            var forgetful = cat([all.narrow(0, 0, before), z, all.narrow(0, before + z.shape[0], all.shape[0] - before - z.shape[0])]);
            return new MethodLoss(SimClr.NtXent(z, forgetful, Share, 0.5), z.detach());
        }

        public override Tensor Energy(Tensor x, Tensor y) => 1 - (Unit(Through(x, Backbone)) * Unit(Through(y, Backbone))).sum(1);
    }
}
