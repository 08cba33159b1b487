using FsCheck;
using FsCheck.Fluent;

namespace DarkMatter.Grains.Tests;

public sealed class BankTests
{
    private const int RowBytes = 3;

    /// <summary>A history of writes: in step t lane v writes these places; and an order in which they come, with some coming again.</summary>
    private static Arbitrary<Story> Stories => (
        from rows in Gen.Choose(1, 2100)
        from lanes in Gen.Choose(1, 4)
        from steps in Gen.Choose(1, 12)
        from seed in Gen.Choose(0, int.MaxValue)
        select new Story(rows, lanes, steps, seed)).ToArbitrary();

    [Fact]
    public void Append_InAnyOrderAndAgain_GivesTheRowsWrittenInOrder() => Check.QuickThrowOnFailure(Prop.ForAll(Stories, story =>
    {
        var bank = story.Seeded(generation: 1);
        foreach (var (step, lane) in story.Arrivals())
            bank.Append(1, step, [story.Write(step, lane)]).Refusal.ShouldBe(Refusal.None);
        bank.Step.ShouldBe(story.Steps);
        Rows(bank).ShouldBe(story.Twin(story.Steps));
    }));

    [Fact]
    public void Append_StepThatIsNotWhole_IsNotSeen() => Check.QuickThrowOnFailure(Prop.ForAll(Stories, story =>
    {
        var bank = story.Seeded(generation: 1);
        var missing = (Step: (story.Seed % story.Steps) + 1L, Lane: story.Seed % story.Lanes);
        foreach (var (step, lane) in story.Arrivals().Where(a => a != missing))
            bank.Append(1, step, [story.Write(step, lane)]);
        bank.Step.ShouldBe(missing.Step - 1);
        Rows(bank).ShouldBe(story.Twin(missing.Step - 1));
        bank.Append(1, missing.Step, [story.Write(missing.Step, missing.Lane)]);
        Rows(bank).ShouldBe(story.Twin(story.Steps), "what waited follows");
    }));

    /// <summary>A reader that asks now and then has the partition's rows each time: through steps, steps taken back, and seeds.</summary>
    [Fact]
    public void Read_SinceAVersion_IsTheDifferenceOfTheSnapshots() => Check.QuickThrowOnFailure(Prop.ForAll(Stories, story =>
    {
        var (bank, random, mirror) = (story.Seeded(generation: 1), new Random(story.Seed), new byte[story.Rows * RowBytes]);
        var (life, version) = (0L, 0L);
        for (var generation = 1L; generation <= 3; generation++)
        {
            bank.Begin(generation, Math.Max(0, bank.Step - random.Next(3)));
            for (var step = bank.Step + 1; step <= story.Steps; step++)
            {
                bank.Append(generation, step, [.. Enumerable.Range(0, story.Lanes).Select(lane => story.Write(step, lane))]);
                if (random.Next(3) > 0)
                    continue;
                var delta = bank.Read(life, version);
                if (delta.Whole)
                    Array.Clear(mirror);
                foreach (var (i, place) in delta.Places.Index())
                    delta.Rows.AsSpan(i * RowBytes, RowBytes).CopyTo(mirror.AsSpan(place * RowBytes));
                (life, version) = (delta.Status.Life, delta.Status.Version);
                mirror.ShouldBe(Rows(bank));
                bank.Read(life, version).Places.ShouldBeEmpty();
            }
        }
    }));

    [Fact]
    public void Begin_NewGeneration_TakesBackTheStepsItDoesNotHave() => Check.QuickThrowOnFailure(Prop.ForAll(Stories, story =>
    {
        var bank = story.Seeded(generation: 1);
        foreach (var (step, lane) in story.Arrivals())
            bank.Append(1, step, [story.Write(step, lane)]);
        var back = Math.Max(0, story.Steps - (story.Seed % (Bank.History + 1)));
        bank.Begin(2, back).Step.ShouldBe(back);
        Rows(bank).ShouldBe(story.Twin(back));
        bank.Begin(2, 0).Step.ShouldBe(back, "a generation begins once");
        var further = bank.Step - Bank.History - 1;
        if (further >= 0 && bank.Begin(3, further).Step is var left && left != further)
        {
            left.ShouldBe(-1, "it is empty rather than wrong");
            Rows(bank).ShouldAllBe(b => b == 0);
        }
    }));

    [Fact]
    public void AnyWrite_OfAnOlderGeneration_ChangesNothing() => Check.QuickThrowOnFailure(Prop.ForAll(Stories, story =>
    {
        var bank = story.Seeded(generation: 7);
        var (before, version) = (Rows(bank), bank.Version);
        bank.Append(6, 1, [story.Write(1, 0)]).Refusal.ShouldBe(Refusal.StaleGeneration);
        bank.Seed(6, new BankSeed { Step = 9, Begins = true, Ends = true }).Refusal.ShouldBe(Refusal.StaleGeneration);
        bank.Begin(6, 0).Message.ShouldContain("no longer belongs to the run");
        bank.Append(8, 1, [story.Write(1, 0)]).Refusal.ShouldBe(Refusal.FailedPrecondition, "a generation begins before it writes");
        (bank.Version, bank.Step, bank.Generation).ShouldBe((version, 0, 7));
        Rows(bank).ShouldBe(before);
    }));

    [Fact]
    public void Seed_WhileStepsCome_IsFollowedByThoseAfterIt()
    {
        var story = new Story(2000, 2, 6, 5);
        var bank = story.Empty(generation: 1);
        bank.Read(0, 0).Places.ShouldBeEmpty();
        foreach (var step in (long[])[3, 4, 5, 6])
            bank.Append(1, step, [story.Write(step, 0), story.Write(step, 1)]);
        bank.Step.ShouldBe(-1, "nobody has given it its rows");
        var whole = story.Twin(4);
        bank.Seed(1, new BankSeed { Step = 4, Begins = true, Rows = whole[..(1000 * RowBytes)] });
        bank.Step.ShouldBe(-1, "half of the rows are no bank");
        bank.Seed(1, new BankSeed { Step = 4, From = 1000, First = 1000, Rows = whole[(1000 * RowBytes)..], Ends = true }).Step.ShouldBe(6);
        Rows(bank).ShouldBe(story.Twin(6));
        bank.Seed(1, new BankSeed { Step = 2, Begins = true, Ends = true }).Step.ShouldBe(6, "an older seed changes nothing");
    }

    /// <summary>A late end of a broken stream: the rows before it were never given as of its step.</summary>
    [Fact]
    public void Seed_EndOfAnotherSeed_IsRefusedAndPublishesNothing()
    {
        var story = new Story(2000, 2, 6, 5);
        var bank = story.Empty(generation: 1);
        BankSeed Part(long step, int from, bool ends = false) =>
            new() { Step = step, From = from, First = from, Rows = story.Twin(step)[(from * RowBytes)..((from + 1000) * RowBytes)], Begins = from == 0, Ends = ends };
        bank.Seed(1, Part(4, 0));
        bank.Seed(1, Part(5, 0)).Refusal.ShouldBe(Refusal.None, "the new stream begins");
        var late = bank.Seed(1, Part(4, 1000, ends: true));
        (late.Refusal, late.Step).ShouldBe((Refusal.FailedPrecondition, -1));
        late.Message.ShouldContain("rows from 1000 on as of step 4 do not follow rows to 1000 as of step 5");
        bank.Seed(1, Part(4, 0)).Refusal.ShouldBe(Refusal.FailedPrecondition, "an older seed does not begin again");
        bank.Seed(1, Part(5, 1000, ends: true)).Step.ShouldBe(5);
        Rows(bank).ShouldBe(story.Twin(5));
    }

    [Fact]
    public void Seed_PartBeforeItMissing_IsRefused()
    {
        var bank = new Story(30, 1, 1, 1).Empty(generation: 1);
        bank.Seed(1, new BankSeed { Step = 3, From = 10, First = 10, Rows = new byte[20 * RowBytes], Ends = true }).Message.ShouldContain("do not follow anything");
        bank.Seed(1, new BankSeed { Step = 3, Begins = true, Rows = new byte[10 * RowBytes] });
        bank.Seed(1, new BankSeed { Step = 3, From = 20, First = 20, Rows = new byte[10 * RowBytes], Ends = true }).Refusal.ShouldBe(Refusal.FailedPrecondition);
        bank.Seed(1, new BankSeed { Step = 3, From = 10, First = 9 }).Refusal.ShouldBe(Refusal.InvalidArgument);
        bank.Step.ShouldBe(-1);
        bank.Seed(1, new BankSeed { Step = 3, From = 10, First = 25, Rows = [.. Enumerable.Repeat((byte)1, 2 * RowBytes)], Ends = true }).Step.ShouldBe(3);
        Rows(bank).ShouldBe([.. new byte[25 * RowBytes], .. Enumerable.Repeat((byte)1, 2 * RowBytes), .. new byte[3 * RowBytes]], "rows that are left out are zeros");
    }

    /// <summary>Streams of several seeds that break anywhere, whose parts come in any order: what is published is whole.</summary>
    [Fact]
    public void Seed_PartsOfSeveralSeedsInterleaved_PublishesNothingHalf() => Check.QuickThrowOnFailure(Prop.ForAll(Stories, story =>
    {
        var (bank, random) = (story.Empty(generation: 1), new Random(story.Seed));
        var each = Math.Max(1, story.Rows / 3);
        var streams = Enumerable.Range(0, 4).Select(_ => Parts(random.Next(1, story.Steps + 1))).Select(parts => parts.GetEnumerator()).ToList();
        while (streams.Count > 0)
        {
            var stream = streams[random.Next(streams.Count)];
            if (!stream.MoveNext() || random.Next(12) == 0)
                streams.Remove(stream);
            else if (bank.Seed(1, stream.Current).Step is >= 0 and var step)
                Rows(bank).ShouldBe(story.Twin(step));
        }

        foreach (var part in Parts(story.Steps))
            bank.Seed(1, part).Refusal.ShouldBe(Refusal.None, "a seed that is not disturbed is taken");
        bank.Step.ShouldBe(story.Steps);
        Rows(bank).ShouldBe(story.Twin(story.Steps));

        IEnumerable<BankSeed> Parts(long step)
        {
            var rows = story.Twin(step);
            for (var from = 0; from < story.Rows; from += each)
            {
                var end = Math.Min(story.Rows, from + each);
                yield return new BankSeed { Step = step, From = from, First = from, Rows = rows[(from * RowBytes)..(end * RowBytes)], Begins = from == 0, Ends = end == story.Rows };
            }
        }
    }));

    [Fact]
    public void Append_RowsThatWereLost_AreAskedForAndTheBoundHolds()
    {
        var story = new Story(50, 1, 1, 1);
        var bank = story.Seeded(generation: 1);
        for (var step = 2L; step < 1000; step++)
            bank.Append(1, step, [story.Write(step, 0)]).Stuck.ShouldBe(step > Bank.MostWaiting / 2);
        bank.Step.ShouldBe(0);
        bank.Seed(1, new BankSeed { Step = 980, Begins = true, Ends = true }).ShouldSatisfyAllConditions(s => s.Step.ShouldBe(999), s => s.Stuck.ShouldBeFalse());
    }

    [Theory]
    [InlineData(4, 0, 3, "lane 4 of step 1")]
    [InlineData(-1, 0, 3, "lane -1")]
    [InlineData(0, 10, 3, "the partition has 10 rows")]
    [InlineData(0, -1, 3, "the partition has 10 rows")]
    [InlineData(0, 0, 4, "gives 1 rows in 4 bytes")]
    public void Append_WhatDoesNotFit_IsRefused(int lane, int place, int bytes, string message)
    {
        var bank = new Story(10, 2, 1, 1).Seeded(generation: 1);
        var status = bank.Append(1, 1, [new BankLane(lane, [place], new byte[bytes])]);
        status.Refusal.ShouldBe(Refusal.InvalidArgument);
        status.Message.ShouldContain(message);
    }

    [Theory]
    [InlineData(65_536, 512, 1, 33_554_432)]
    [InlineData(65_536, 256, 1, 16_777_216)]
    [InlineData(1_300_000, 512, 20, 665_600_000)]
    [InlineData(1_300_000, 256, 10, 332_800_000)]
    public void Partitions_OfTheReferenceBanks_HoldEveryRowOnceAndTakeMemoryWhereWritten(long rows, int rowBytes, int partitions, long bytes)
    {
        var shape = new BankShape(rows, rowBytes, 1);
        shape.Partitions.ShouldBe(partitions);
        Enumerable.Range(0, partitions).Sum(p => (long)shape.RowsOf(p) * rowBytes).ShouldBe(bytes);
        var last = new Bank(shape, partitions - 1, generation: 1, life: 1);
        last.Seed(1, new BankSeed { Begins = true, Ends = true });
        last.Bytes.ShouldBe(0);
        last.Append(1, 1, [new BankLane(0, [5, 6, 7], new byte[3 * rowBytes])]);
        last.Bytes.ShouldBe(1024 * rowBytes);
    }

    private static byte[] Rows(Bank bank) => [.. Enumerable.Range(0, (int)bank.Shape.Rows).SelectMany(place => bank.Row(place).ToArray())];

    private sealed record Story(int Rows, int Lanes, int Steps, int Seed)
    {
        public Bank Empty(long generation) => new(new BankShape(Rows, RowBytes, Lanes), 0, generation, life: 42);

        public Bank Seeded(long generation)
        {
            var bank = Empty(generation);
            bank.Seed(generation, new BankSeed { Begins = true, Ends = true, Rows = Twin(0) });
            return bank;
        }

        public BankLane Write(long step, int lane)
        {
            var random = new Random(HashCode.Combine(Seed, step, lane));
            int[] places = [.. Enumerable.Range(0, random.Next(4)).Select(_ => random.Next(Rows))];
            var rows = new byte[places.Length * RowBytes];
            random.NextBytes(rows);
            return new BankLane(lane, places, rows);
        }

        /// <summary>Every write at least once, in any order.</summary>
        public IReadOnlyList<(long Step, int Lane)> Arrivals()
        {
            var random = new Random(Seed);
            var all = from step in Enumerable.Range(1, Steps) from lane in Enumerable.Range(0, Lanes) from _ in Enumerable.Range(0, 1 + random.Next(3)) select ((long)step, lane);
            return [.. all.OrderBy(_ => random.Next())];
        }

        /// <summary>The rows after a step, written one after the other.</summary>
        public byte[] Twin(long step)
        {
            var rows = new byte[Rows * RowBytes];
            new Random(Seed + 1).NextBytes(rows);
            for (var s = 1L; s <= step; s++)
            {
                foreach (var write in Enumerable.Range(0, Lanes).Select(lane => Write(s, lane)))
                {
                    for (var i = 0; i < write.Places.Length; i++)
                        write.Rows.AsSpan(i * RowBytes, RowBytes).CopyTo(rows.AsSpan(write.Places[i] * RowBytes));
                }
            }

            return rows;
        }
    }
}
