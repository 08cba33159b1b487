using DarkMatter.Data;

namespace DarkMatter.Grains.Tests.Runs;

public class AuditTests
{
    private const int Batch = 8;

    // 70 images in 4 lanes of 17 or 18: 9 steps of 2 a lane end an epoch for all lanes.
    private static readonly SampleOrder Order = new(5, [30, 0, 25, 15], 4, 8);

    [Fact]
    public void Check_OneGeneration_ProvesEveryFinishedEpoch()
    {
        var report = Check(Ledger(Honest(1, 0, 20)));
        report.Verdict.ShouldBe(AuditVerdict.Proven);
        report.CommittedSteps.ShouldBe(20);
        report.FinishedEpochs.ShouldBe(2);
        report.ImagesPerEpoch.ShouldBe(70);
        report.DigestsChecked.ShouldBe(1);
        report.RolledBack.ShouldBeEmpty();
    }

    [Fact]
    public void Check_NothingTrained_ProvesNothing()
    {
        Check(Ledger()).Verdict.ShouldBe(AuditVerdict.Proven);
        Check(Ledger(new GenerationRecord { Number = 1, Lanes = 4 })).CommittedSteps.ShouldBe(0);
    }

    [Theory]
    [InlineData(17, 1)]
    [InlineData(9, 1)]
    [InlineData(8, 0)]
    public void Check_EpochsThatNotAllLanesFinished_AreNotCounted(int steps, int epochs) =>
        Check(Ledger(Honest(1, 0, steps))).FinishedEpochs.ShouldBe(epochs);

    [Fact]
    public void Check_GenerationsEndToEnd_AreProven()
    {
        var report = Check(Ledger(Honest(1, 0, 7), Idle(2, 7), Honest(3, 7, 7), Honest(4, 7, 31)));
        report.Verdict.ShouldBe(AuditVerdict.Proven);
        report.CommittedSteps.ShouldBe(31);
        report.Generations.ShouldBe(4);
        report.DigestsChecked.ShouldBe(2);
    }

    [Fact]
    public void Check_StepsLostWithTheirTrainers_AreNamedAndCountOnce()
    {
        // The second and third generations' work is lost to a checkpoint of step 5; so is the end of the first.
        var report = Check(Ledger(Honest(1, 0, 10), Honest(2, 10, 14), Honest(3, 14, 15), Honest(4, 5, 30)));
        report.Verdict.ShouldBe(AuditVerdict.Proven);
        report.RolledBack.ShouldBe([new StepRange(1, 5, 10), new StepRange(2, 10, 14), new StepRange(3, 14, 15)]);
        report.CommittedSteps.ShouldBe(30);
        report.FinishedEpochs.ShouldBe(3);
    }

    [Fact]
    public void Check_StateOfAnOlderGeneration_LeavesTheNewerOut()
    {
        // Generation 2 trained on while it was cut off, generation 3 went on with the end of the first; then only generation 2's state was left.
        var report = Check(Ledger(
            Honest(1, 0, 5), Honest(2, 5, 12) with { Parent = 1 }, Honest(3, 5, 8) with { Parent = 1 }, Honest(4, 12, 30) with { Parent = 2 }));
        report.Verdict.ShouldBe(AuditVerdict.Proven);
        report.RolledBack.ShouldBe([new StepRange(3, 5, 8)]);

        // A parent that the ledger does not have is a gap.
        Check(Ledger(Honest(1, 0, 5), Honest(3, 5, 8) with { Parent = 2 })).Problems.ShouldContain("steps 0 to 5 are in no generation: generation 3 began at step 5");
    }

    [Fact]
    public void Check_Gap_NamesTheMissingImages()
    {
        var report = Check(Ledger(Honest(1, 0, 5), Honest(2, 7, 20)));
        report.Verdict.ShouldBe(AuditVerdict.Broken);
        report.Problems.ShouldContain("steps 5 to 7 are in no generation: generation 2 began at step 7");
        report.MissingImages.ShouldBe(16);
        var lost = Enumerable.Range(5, 2).SelectMany(Places).Select(place => new EpochImage(place.Epoch, place.Address)).ToHashSet();
        report.Missing.ToHashSet().SetEquals(lost).ShouldBeTrue();
    }

    [Fact]
    public void Check_LongGap_NamesTheFirstImagesAndCountsAll()
    {
        var report = Check(Ledger(Honest(1, 20, 40)));
        report.Verdict.ShouldBe(AuditVerdict.Broken);
        report.Missing.Length.ShouldBe(Audit.NamedImages);
        report.MissingImages.ShouldBe(160);
    }

    [Fact]
    public void Check_RunThatBeganLate_IsAGap() =>
        Check(Ledger(Honest(1, 1, 20))).Problems.ShouldContain("steps 0 to 1 are in no generation: generation 1 began at step 1");

    [Fact]
    public void Check_GenerationThatHidesAnOverlap_IsSeenByItsDigest()
    {
        // It began at step 7 and says 9, so that steps 7 and 8 seem to have been trained once.
        var lie = Honest(2, 7, 20) with { StartStep = 9 };
        var report = Check(Ledger(Honest(1, 0, 9), lie));
        report.Verdict.ShouldBe(AuditVerdict.Broken);
        report.Problems.Single().ShouldStartWith("generation 2 used other images than the run's order has in steps 9 to 20: their digest is ");
    }

    [Fact]
    public void Check_DigestOfOneWrongImage_IsSeen()
    {
        foreach (var place in Places(3))
        {
            var honest = Honest(1, 0, 20);
            var other = honest with { SamplesDigest = honest.SamplesDigest - SampleDigest.Of(3, place) + SampleDigest.Of(3, Order.Locate(0, 50)) };
            Check(Ledger(other)).Verdict.ShouldBe(AuditVerdict.Broken);
        }
    }

    [Fact]
    public void Check_DigestOfStepsThatWereLost_StillCounts()
    {
        var lie = Honest(1, 0, 12) with { SamplesDigest = 1 };
        Check(Ledger(lie, Honest(2, 0, 20))).Verdict.ShouldBe(AuditVerdict.Broken);
    }

    [Fact]
    public void Check_StepsWithoutADigest_AreUnproven()
    {
        var report = Check(Ledger(Until(Honest(1, 0, 9), 6), Honest(2, 9, 20)));
        report.Verdict.ShouldBe(AuditVerdict.Unproven);
        report.Unproven.ShouldBe([new StepRange(1, 6, 9)]);
        report.Problems.ShouldBeEmpty();
        report.MissingImages.ShouldBe(0);

        // What nobody kept needs no proof.
        Check(Ledger(Until(Honest(1, 0, 9), 6), Honest(2, 6, 20))).Verdict.ShouldBe(AuditVerdict.Proven);
    }

    [Fact]
    public void Check_QuarantinedImages_AreNamed()
    {
        var broken = new BrokenSample { Shard = 2, Index = 7, Key = "a/7", Reason = "cut off" };
        var report = Check(Ledger(Honest(1, 0, 20)) with { Quarantined = [broken] });
        report.Verdict.ShouldBe(AuditVerdict.Proven);
        report.Quarantined.ShouldBe([broken]);
    }

    [Theory]
    [InlineData("number", "generation 1 comes after generation 1: numbers only grow")]
    [InlineData("order", "generation 2 comes after generation 3: numbers only grow")]
    [InlineData("lanes", "generation 2 has 5 lanes, but the run has 4")]
    [InlineData("backwards", "generation 2 committed step 8, but began at step 9")]
    [InlineData("idle", "generation 2 never began, but committed steps 9 to 20")]
    [InlineData("beyond", "generation 2 reaches step 50, but the run has 40 steps")]
    [InlineData("completed", "the run is completed at step 40 of 40, but its generations end at step 20")]
    public void Check_LedgerThatContradictsItself_SaysHow(string lie, string expected)
    {
        GenerationRecord first = Honest(1, 0, 9), second = Honest(2, 9, 20);
        var ledger = lie switch
        {
            "number" => Ledger(first, second with { Number = 1 }),
            "order" => Ledger(first with { Number = 3 }, second),
            "lanes" => Ledger(first, second with { Lanes = 5 }),
            "backwards" => Ledger(first, second with { CommittedStep = 8 }),
            "idle" => Ledger(first, second with { Began = false }),
            "beyond" => Ledger(first, second with { DigestStep = 50 }) with { TotalSteps = 40 },
            _ => Ledger(first, second) with { State = RunState.Completed, Step = 40, TotalSteps = 40 },
        };
        var report = Check(ledger);
        report.Verdict.ShouldBe(AuditVerdict.Broken);
        report.Problems.ShouldContain(expected);
    }

    [Fact]
    public void Check_LedgerOfAnotherOrder_SaysSo()
    {
        Check(Ledger(Honest(1, 0, 9)) with { Lanes = 5 }).Problems.ShouldContain("the ledger has 5 lanes and batches of 8, but the recipe's order has 4 lanes");
        Audit.Check(Ledger(Honest(1, 0, 9)), new SampleOrder(6, [30, 0, 25, 15], 4, 8)).Verdict.ShouldBe(AuditVerdict.Broken);
    }

    [Fact]
    public void Check_RandomHistories_AgreeWithTheSlowTwin()
    {
        for (var seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            var generations = new List<GenerationRecord>();
            var owner = new SortedDictionary<long, long>(); // step → the generation whose work is kept
            long reached = 0;
            for (var number = 1; number <= 12; number++)
            {
                var start = random.Next(4) == 0 ? random.NextInt64(reached + 1) : reached;
                var end = start + random.Next(7);
                generations.Add(Honest(number, start, end));
                foreach (var step in owner.Keys.Where(step => step >= start).ToList())
                    owner.Remove(step);
                for (var step = start; step < end; step++)
                    owner[step] = number;
                reached = end;
            }

            var report = Check(Ledger([.. generations]));
            report.Verdict.ShouldBe(AuditVerdict.Proven);
            var kept = Lineage.Of(Ledger([.. generations])).Pieces.SelectMany(p => Enumerable.Range((int)p.From, (int)p.Count).Select(step => ((long)step, p.Generation)));
            kept.ShouldBe(owner.Select(pair => (pair.Key, pair.Value)));
            report.RolledBack.Sum(range => range.Count).ShouldBe(generations.Sum(g => g.CommittedStep - g.StartStep) - owner.Count);
        }
    }

    [Fact]
    public void Check_Cancelled_Ends()
    {
        using var cancelled = new CancellationTokenSource();
        Should.Throw<OperationCanceledException>(() => Audit.Check(
            Ledger(Honest(1, 0, 1000)), Order, steps =>
            {
                steps.ShouldBe(256);
                cancelled.Cancel();
            },
            cancelled.Token));
    }

    private static AuditReport Check(RunLedger ledger) => Audit.Check(ledger, Order);

    private static RunLedger Ledger(params GenerationRecord[] generations) => new()
    {
        Run = "r",
        State = RunState.Training,
        Batch = Batch,
        Lanes = 4,
        Generations = [.. generations],
        Step = generations.Length == 0 ? 0 : generations[^1].CommittedStep,
    };

    /// <summary>A generation that trained these steps and says what is true.</summary>
    private static GenerationRecord Honest(long number, long start, long committed) => new()
    {
        Number = number,
        StartStep = start,
        CommittedStep = committed,
        Lanes = 4,
        Began = true,
        DigestStep = committed,
        SamplesDigest = Digest(start, committed),
    };

    private static GenerationRecord Idle(long number, long start) => new() { Number = number, StartStep = start, CommittedStep = start, Lanes = 4 };

    private static GenerationRecord Until(GenerationRecord generation, long step) =>
        generation with { DigestStep = step, SamplesDigest = Digest(generation.StartStep, step) };

    private static ulong Digest(long from, long to) =>
        Enumerable.Range((int)from, (int)(to - from)).SelectMany(step => Places(step).Select(place => SampleDigest.Of(step, place))).Aggregate(0UL, (sum, one) => sum + one);

    private static IEnumerable<SamplePlace> Places(int step) =>
        from lane in Enumerable.Range(0, 4) from i in Enumerable.Range(0, 2) select Order.Locate(lane, (step * 2) + i);
}
