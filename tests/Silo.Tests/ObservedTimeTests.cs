using DarkMatter.Portable.Orleans.Tests;

namespace DarkMatter.Silo.Tests;

public sealed class ObservedTimeTests
{
    [Fact]
    public void Now_BetweenTicks_IsRealTime_ButASleepingSiloBlamesNobody()
    {
        var clock = new ManualTimeProvider();
        var observed = new ObservedTime(clock);
        clock.Advance(TimeSpan.FromMilliseconds(200));
        observed.Now.ShouldBe(TimeSpan.FromMilliseconds(200));
        observed.Tick();
        clock.Advance(TimeSpan.FromMinutes(5));
        observed.Now.ShouldBe(TimeSpan.FromMilliseconds(700));
        observed.Tick();
        observed.Now.ShouldBe(TimeSpan.FromMilliseconds(700));
        clock.Advance(TimeSpan.FromMilliseconds(100));
        observed.Now.ShouldBe(TimeSpan.FromMilliseconds(800));
    }
}
