using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Trainer.Tests.Collectives;

public sealed class RingPlanTests
{
    public static TheoryData<int, int> Worlds
    {
        get
        {
            var data = new TheoryData<int, int>();
            foreach (var world in new[] { 1, 2, 3, 4, 5, 8, 13 })
            {
                foreach (var pieceBytes in new[] { 8, 12, 64, 1 << 20 })
                {
                    data.Add(world, pieceBytes);
                }
            }

            return data;
        }
    }

    // Runs the plans of all ranks against each other without a network. Each element of rank r is the set of contributors {r}, as a
    // count per rank, so that a double addition cannot hide behind a missing one.
    [Theory]
    [MemberData(nameof(Worlds))]
    public void Sum_OfEveryLength_HasEachRankExactlyOnceEverywhere(int world, int pieceBytes)
    {
        for (var elements = 0; elements <= 40; elements++)
        {
            var plans = Enumerable.Range(0, world).Select(rank => RingPlan.ForSum(world, rank, elements, sizeof(float), pieceBytes)).ToArray();
            var counts = new int[world, elements, world];
            for (var rank = 0; rank < world; rank++)
            {
                for (var element = 0; element < elements; element++)
                {
                    counts[rank, element, rank] = 1;
                }
            }

            Simulate(plans, (from, to, piece) =>
            {
                for (var element = piece.Offset / sizeof(float); element < (piece.Offset + piece.Bytes) / sizeof(float); element++)
                {
                    for (var contributor = 0; contributor < world; contributor++)
                    {
                        counts[to, element, contributor] = counts[from, element, contributor] + (piece.Add ? counts[to, element, contributor] : 0);
                    }
                }
            });
            counts.Cast<int>().ShouldAllBe(count => count == 1, $"world {world}, {elements} elements, pieces of {pieceBytes}");
        }
    }

    [Theory]
    [MemberData(nameof(Worlds))]
    public void Gather_OfUnequalParts_BringsEachPartEverywhere(int world, int pieceBytes)
    {
        var random = new Random(world);
        for (var round = 0; round < 20; round++)
        {
            var parts = Enumerable.Range(0, world).Select(_ => random.Next(4) * random.Next(30)).ToArray();
            var plans = Enumerable.Range(0, world).Select(rank => RingPlan.ForGather(rank, parts, pieceBytes)).ToArray();
            var owners = parts.SelectMany((bytes, rank) => Enumerable.Repeat(rank + 1, bytes)).ToArray();
            var have = Enumerable.Range(0, world).Select(rank => owners.Select(owner => owner == rank + 1 ? owner : 0).ToArray()).ToArray();
            Simulate(plans, (from, to, piece) =>
            {
                piece.Add.ShouldBeFalse();
                have[from].AsSpan(piece.Offset, piece.Bytes).CopyTo(have[to].AsSpan(piece.Offset));
            });
            have.ShouldAllBe(all => all.SequenceEqual(owners));
        }
    }

    [Fact]
    public void Sum_SendsTwiceTheBufferLessItsShare()
    {
        const int world = 4, elements = 1000;
        for (var rank = 0; rank < world; rank++)
        {
            var plan = RingPlan.ForSum(world, rank, elements, sizeof(float), 64);
            plan.Sent.Sum(piece => piece.Bytes).ShouldBe(2 * (world - 1) * elements * sizeof(float) / world);
            plan.Sent.ShouldAllBe(piece => piece.Bytes > 0 && piece.Bytes <= 64);
        }
    }

    [Fact]
    public void Rank_OutsideTheWorld_IsRefused() =>
        Should.Throw<ArgumentOutOfRangeException>(() => RingPlan.ForSum(3, 3, 10, sizeof(float), 64));

    // Any order of deliveries that respects the plans ends the same; this one goes round the ranks, one piece each.
    private static void Simulate(RingPlan[] plans, Action<int, int, RingPiece> transfer)
    {
        var world = plans.Length;
        var sent = new int[world];
        var received = new int[world];
        bool moved;
        do
        {
            moved = false;
            for (var from = 0; from < world; from++)
            {
                var to = (from + 1) % world;
                var next = sent[from];
                if (next == plans[from].Sent.Count || (next >= plans[from].OwnPieces && next - plans[from].OwnPieces >= received[from]))
                {
                    continue;
                }

                var (outgoing, incoming) = (plans[from].Sent[next], plans[to].Received[received[to]]);
                (incoming.Offset, incoming.Bytes).ShouldBe((outgoing.Offset, outgoing.Bytes));
                transfer(from, to, incoming);
                sent[from]++;
                received[to]++;
                moved = true;
            }
        }
        while (moved);

        for (var rank = 0; rank < world; rank++)
        {
            (sent[rank], received[rank]).ShouldBe((plans[rank].Sent.Count, plans[rank].Received.Count), "every plan runs to its end");
        }
    }
}
