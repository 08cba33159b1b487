using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Training;

public sealed class StepSumsTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(1000)]
    public void Digest_SummedAsFloats_IsTheWrappingSumOfAllRanks(int world)
    {
        using var scope = NewDisposeScope();
        var random = new Random(world);
        var sums = new float[StepSums.Count];
        ulong expected = 0;
        for (var rank = 0; rank < world; rank++)
        {
            var digest = rank == 0 ? ulong.MaxValue : (ulong)random.NextInt64() * 2;
            expected += digest;
            var mine = Summands(digest, new FleetSession(), busy: false);
            for (var i = 0; i < sums.Length; i++)
                sums[i] += (float)mine[i];
        }

        StepSums.From([.. sums.Select(s => (double)s)]).SamplesDigest.ShouldBe(expected);
    }

    [Fact]
    public void Flags_OfOneRank_CountForAll()
    {
        using var scope = NewDisposeScope();
        var quiet = Summands(1, new FleetSession(), busy: false);
        StepSums.From(quiet).Leave.ShouldBeFalse();
        var loud = Summands(1, new FleetSession { YieldAt = 1 }, busy: true);
        var sums = StepSums.From([.. quiet.Zip(loud, (a, b) => a + b)]);
        (sums.Yield, sums.Leave, sums.Busy, sums.Stop, sums.Checkpoint).ShouldBe((true, true, true, false, false));
    }

    private static double[] Summands(ulong digest, ITrainingSession session, bool busy) =>
        StepSums.Summands(new MethodLoss(tensor(1.5f), eye(4)), TrainingRunTests.Options, digest, session, busy);
}
