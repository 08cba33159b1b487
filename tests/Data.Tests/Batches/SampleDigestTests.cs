using System.Numerics;

namespace DarkMatter.Data.Tests.Batches;

public class SampleDigestTests
{
    private static readonly SamplePlace Place = new(3, 17, new SampleAddress(5, 11));

    [Fact]
    public void Of_AnyPart_ChangesHalfTheBits()
    {
        // The ledger stores digests: this value, also computed by hand from the definition of KeyedRandom, is for ever.
        SampleDigest.Of(100, Place).ShouldBe(Known);

        foreach (var other in new[]
        {
            SampleDigest.Of(101, Place),
            SampleDigest.Of(100, Place with { Epoch = 4 }),
            SampleDigest.Of(100, Place with { Address = new SampleAddress(6, 11) }),
            SampleDigest.Of(100, Place with { Address = new SampleAddress(5, 12) }),
            SampleDigest.Of(100, Place with { Address = new SampleAddress(11, 5) }),
        })
        {
            BitOperations.PopCount(other ^ Known).ShouldBeInRange(16, 48);
        }

        // The position follows from the epoch and the address, so it is left out.
        SampleDigest.Of(100, Place with { Position = 18 }).ShouldBe(Known);
    }

    [Fact]
    public void OfStep_AllLanes_IsTheSumInAnyOrder()
    {
        var order = new SampleOrder(7, [40, 0, 3, 21], 4, 8);
        for (var step = 0L; step < 40; step++)
        {
            var sum = 0UL;
            for (var i = 2; i >= 0; i--)
            {
                for (var lane = 3; lane >= 0; lane--)
                    sum += SampleDigest.Of(step, order.Locate(lane, step * 3 + i));
            }

            SampleDigest.OfStep(order, 12, step).ShouldBe(sum);
        }
    }

    [Fact]
    public void OfStep_OneSampleTwiceAndAnotherNever_IsAnotherSum()
    {
        var order = new SampleOrder(7, [64], 1, 64);
        var places = Enumerable.Range(0, 64).Select(i => order.Locate(0, i)).ToArray();
        var digests = new HashSet<ulong> { SampleDigest.OfStep(order, 64, 0) };
        for (var twice = 0; twice < 64; twice++)
        {
            for (var never = 0; never < 64; never++)
            {
                if (twice != never)
                    digests.Add(SampleDigest.OfStep(order, 64, 0) + SampleDigest.Of(0, places[twice]) - SampleDigest.Of(0, places[never]));
            }
        }

        digests.Count.ShouldBe(1 + 64 * 63);
    }

    [Fact]
    public void OfStep_BatchNotInLanes_SaysSo() =>
        Should.Throw<ArgumentException>(() => SampleDigest.OfStep(new SampleOrder(7, [64], 4, 8), 10, 0)).Message
            .ShouldStartWith("A batch of 10 does not divide into 4 lanes.");

    private const ulong Known = 17343597204182164555;
}
