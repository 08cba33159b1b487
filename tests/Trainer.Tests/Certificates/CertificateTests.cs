using DarkMatter.Trainer.Certificates;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Training;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Tests.Certificates;

/// <summary>A small <c>darkmatter certify</c> for every registered method, and proof that it sees what it is there for.</summary>
[Collection(TorchCollection.Name)]
public sealed class CertificateTests
{
    private static readonly CertificateOptions Exact = new() { Worlds = [3], Steps = 3, Precisions = [Precision.Float64] };
    private static readonly CertificateOptions Single = new() { Worlds = [2], Steps = 3, Precisions = [Precision.Float32] };

    public static TheoryData<string> Methods => [.. MethodRegistry.Names];

    [Theory]
    [MemberData(nameof(Methods))]
    public async Task Measure_RegisteredMethod_RanksTrainAsOne(string method)
    {
        foreach (var (i, certified) in CertificateCase.Of(method).Index())
        {
            // Float32 rounds a method's settings alike; `make certify` measures them all.
            foreach (var options in i == 0 ? (CertificateOptions[])[Exact, Single] : [Exact])
            {
                var row = (await Certificate.MeasureAsync(certified, options)).ShouldHaveSingleItem();
                row.Failures.ShouldBeEmpty();
                row.Updates.ShouldBe(options.Steps);
                row.Gradient.Relative.ShouldBeGreaterThan(0, "sums in another order round differently: something was compared");
                row.State.Relative.ShouldBeGreaterThan(0);
            }
        }
    }

    [Fact]
    public async Task Measure_OneRank_IsItselfToTheBit()
    {
        var rows = await Certificate.MeasureAsync(CertificateCase.Of("simclr")[0], new CertificateOptions { Worlds = [1], Steps = 3 });
        rows.ShouldAllBe(row => row.Passed && row.Loss.Relative == 0 && row.Gradient.Relative == 0 && row.State.Relative == 0 && row.Repeated == 0);
        rows.Select(row => (row.Precision, row.World)).ShouldBe([(Precision.Float64, 1), (Precision.Float32, 1)]);
    }

    [Theory]
    [InlineData(Mistake.None, "")]
    [InlineData(Mistake.GatherWithoutSum, "the gradient of backbone.")]
    [InlineData(Mistake.EverySecondUpdate, "the gradient of backbone.")]
    [InlineData(Mistake.MomentumOfOneRank, "the state of average.")]
    [InlineData(Mistake.OrderOfQueue, "the state of queue.keys ")]
    [InlineData(Mistake.LocalStatistics, "the loss ")]
    public async Task Measure_Mistake_IsCaughtAndNamed(Mistake mistake, string named)
    {
        var planted = new CertificateCase("planted", new PlantedOptions(mistake), [12, 12]);
        foreach (var options in (CertificateOptions[])[Exact with { Worlds = [2] }, Single])
        {
            var row = (await Certificate.MeasureAsync(planted, options)).ShouldHaveSingleItem();
            var subject = $"planted: with 2 ranks in {(row.Precision == Precision.Float64 ? "float64" : "float32")}, ";
            if (mistake == Mistake.None)
                row.Failures.ShouldBeEmpty();
            else
                row.Failures.ShouldContain(failure => failure.StartsWith(subject + named, StringComparison.Ordinal), string.Join("\n", row.Failures));
        }
    }

    [Fact]
    public async Task Measure_MomentumOfOneRank_IsFoundOnThatRankAndItsBitsDiffer()
    {
        var row = (await Certificate.MeasureAsync(new CertificateCase("planted", new PlantedOptions(Mistake.MomentumOfOneRank), [12, 12]), Single)).ShouldHaveSingleItem();
        row.State.Rank.ShouldBe(1);
        row.Differs.ShouldBe(1);
        row.Failures.ShouldContain("planted: with 2 ranks in float32, ranks hold different states after update 1");
    }

    [Fact]
    public void Failures_NumberThatIsNone_Fails() =>
        new CertificateRow("m", Precision.Float32, 2, new Deviation(double.NaN, "the loss", 3, 1), new Deviation(0, "w", 1, 0), new Deviation(0, "w", 1, 0), 1e-5)
            .Failures.ShouldHaveSingleItem().ShouldStartWith("m: with 2 ranks in float32, the loss on rank 1 in update 3 is NaN");

    [Fact]
    public void Options_WorldsInAnyOrderAndTwice_AreEachOnceInOrder() =>
        new CertificateOptions { Worlds = [4, 2, 2, 1] }.Worlds.ShouldBe([1, 2, 4]);

    [Fact]
    public async Task Measure_ImpossibleOptions_AreAllNamed() =>
        (await Should.ThrowAsync<ArgumentException>(() => Certificate.MeasureAsync(
            CertificateCase.Of("simclr")[0], new CertificateOptions { Worlds = [0, 17], Precisions = [Precision.BFloat16], Steps = 0 })))
            .Message.ShouldSatisfyAllConditions(
                m => m.ShouldContain("world 0 is outside 1..16"), m => m.ShouldContain("world 17"),
                m => m.ShouldContain("precision BFloat16 is not certified"), m => m.ShouldContain("0 steps"));
}
