using System.Collections.Immutable;

namespace DarkMatter.Grains.Tests;

public sealed class ShardRangeTests
{
    private static ShardLease Lease(int shard, int lane, long epoch = 0) => new() { Shard = shard, Lane = lane, Epoch = epoch };

    [Fact]
    public void Acquire_FreeLease_IsGranted_HeldByAnother_IsNot()
    {
        var range = new ShardRange(0);
        range.Acquire(1, "a", [Lease(0, 0), Lease(1, 0)]).Granted.ShouldBe([Lease(0, 0), Lease(1, 0)]);
        range.Acquire(1, "b", [Lease(1, 0), Lease(1, 1)]).Granted.ShouldBe([Lease(1, 1)]);
        range.Acquire(1, "a", [Lease(1, 0)]).Granted.ShouldBe([Lease(1, 0)]);
        range.Acquire(1, "b", [Lease(1, 0, epoch: 1)]).Granted.ShouldBe([Lease(1, 0, epoch: 1)]);
    }

    [Fact]
    public void Acquire_InANewGeneration_TakesOver_AndFencesTheOldOne()
    {
        var range = new ShardRange(0);
        range.Acquire(1, "a", [Lease(0, 0)]);
        range.Acquire(2, "b", [Lease(0, 0)]).Granted.ShouldBe([Lease(0, 0)]);
        var stale = range.Acquire(1, "a", [Lease(5, 5)]);
        stale.Refusal.ShouldBe(Refusal.StaleGeneration);
        stale.Granted.ShouldBeEmpty();
        stale.Message.ShouldContain("generation 2 has begun");
        new ShardRange(3).Acquire(2, "a", [Lease(0, 0)]).Refusal.ShouldBe(Refusal.StaleGeneration);
    }

    [Fact]
    public void Acquire_EndlessEpochs_StaysBounded()
    {
        var range = new ShardRange(0);
        ImmutableArray<ShardLease> Epoch(long e) => [.. Enumerable.Range(0, 100_000).Select(i => Lease(i % 1024, i / 1024, e))];
        for (long e = 0; e < 4; e++)
        {
            range.Acquire(1, "a", Epoch(e));
        }

        // Epoch 0's leases were forgotten, so that another trainer may have them now; epoch 3's were not.
        range.Acquire(1, "b", [Lease(0, 0, 0)]).Granted.Length.ShouldBe(1);
        range.Acquire(1, "b", [Lease(0, 0, 3)]).Granted.ShouldBeEmpty();
    }

    [Fact]
    public void Quarantine_CountsEachSampleOnce()
    {
        var record = ShardRange.Quarantine(new ShardRangeRecord(), [Broken(1, 2), Broken(1, 3), Broken(1, 2)]);
        record.Quarantined.Count.ShouldBe(2);
        ShardRange.Quarantine(record, [Broken(1, 3), Broken(2, 3)]).Quarantined.Count.ShouldBe(3);

        static BrokenSample Broken(int shard, int index) => new() { Shard = shard, Index = index, Key = "k", Reason = "r", Trainer = "t" };
    }

    [Fact]
    public void Keys_RoundTrip()
    {
        ShardRange.Of(1023).ShouldBe(0);
        ShardRange.Of(1024).ShouldBe(1);
        ShardRange.Parse(ShardRange.KeyOf("a.b", 12345)).ShouldBe(("a.b", 12345));
    }
}
