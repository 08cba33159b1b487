namespace DarkMatter.Grains.Tests;

public sealed class LaneShareTests
{
    [Fact]
    public void Of_EveryWorld_SplitsTheLanesIntoNeighboursLongestFirst()
    {
        for (int lanes = 1; lanes <= 40; lanes++)
        {
            for (int world = 1; world <= lanes; world++)
            {
                var shares = Enumerable.Range(0, world).Select(rank => LaneShare.Of(rank, world, lanes)).ToArray();
                shares.SelectMany(s => s).ShouldBe(Enumerable.Range(0, lanes));
                shares.Take(lanes % world).ShouldAllBe(s => s.Length == (lanes / world) + 1);
                shares.Skip(lanes % world).ShouldAllBe(s => s.Length == lanes / world);
            }
        }
    }

    [Theory]
    [InlineData(0, 3, 2)]
    [InlineData(2, 2, 4)]
    [InlineData(-1, 2, 4)]
    [InlineData(0, 0, 4)]
    public void Of_OutsideTheWorld_Throws(int rank, int world, int lanes) =>
        Should.Throw<ArgumentOutOfRangeException>(() => LaneShare.Of(rank, world, lanes));
}
