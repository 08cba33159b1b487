using DarkMatter.Protocol;
using DarkMatter.Trainer.Commands.Sessions;

namespace DarkMatter.Trainer.Tests.Commands.Sessions;

public sealed class OrdersTests
{
    [Fact]
    public void Post_ANewerAssignment_ReplacesTheOlder_AndNotTheOtherWayRound()
    {
        var orders = new Orders();
        orders.Post(Train(7));
        orders.Post(Train(8));
        orders.Post(Train(7));
        orders.Take().ShouldBeOfType<Order.Train>().Assignment.Generation.ShouldBe(8);
        orders.Pending.ShouldBeNull();
    }

    [Fact]
    public void Post_AnEnd_IsNotReplacedByWhatGoesOn()
    {
        Order[] lightToHeavy = [Train(1), new Order.Go("drained", Last: false), new Order.Stop("asked", Over: false), new Order.End(1, "failed")];
        for (var heavy = 1; heavy < lightToHeavy.Length; heavy++)
        {
            var orders = new Orders();
            orders.Post(lightToHeavy[heavy - 1]);
            orders.Post(lightToHeavy[heavy]);
            orders.Post(lightToHeavy[heavy - 1]);
            orders.Take().ShouldBe(lightToHeavy[heavy]);
        }
    }

    // Pending, newer, what the trainer takes.
    [Theory]
    [InlineData("save 7", "train 8", "train 8")]
    [InlineData("save 7", "save 8", "save 8")]
    [InlineData("train 7", "save 8", "save 8")]
    [InlineData("save 8", "train 7", "save 8")]
    [InlineData("train 8", "save 7", "train 8")]
    [InlineData("save 7", "wait", "wait")]
    [InlineData("save 7", "rejoin", "rejoin")]
    [InlineData("save 7", "go", "go")]
    [InlineData("save 7", "stop", "stop")]
    [InlineData("save 7", "end", "end")]
    [InlineData("wait", "save 7", "save 7")]
    [InlineData("go", "save 7", "save 7")]
    [InlineData("stop", "save 7", "save 7")]
    [InlineData("end", "save 7", "end")]
    [InlineData("go", "train 7", "go")]
    [InlineData("stop", "train 7", "stop")]
    [InlineData("stop", "wait", "stop")]
    public void Post_WhichOrderCounts(string pending, string newer, string taken)
    {
        var orders = new Orders();
        var made = new[] { pending, newer }.ToDictionary(name => name, Make);
        orders.Post(made[pending]);
        orders.Post(made[newer]);
        orders.Take().ShouldBeSameAs(made[taken]);
    }

    [Fact]
    public void Post_AtOnce_TellsWhoeverTrains()
    {
        var orders = new Orders();
        var told = new List<Order>();
        orders.AtOnce += told.Add;
        orders.Post(Train(1));
        orders.Post(Train(2, atOnce: true));
        orders.Post(Train(1, atOnce: true));
        told.Count.ShouldBe(1, "an old order interrupts nobody");
        orders.Post(new Order.Rejoin("lost"));
        told.Count.ShouldBe(2);
    }

    [Fact]
    public void Wait_WithoutAnOrder_IsShort()
    {
        var orders = new Orders();
        orders.Wait(TimeSpan.FromMilliseconds(1)).ShouldBeFalse();
        orders.Post(Train(1));
        orders.Wait(TimeSpan.Zero).ShouldBeTrue();
    }

    private static Order Make(string name) => name.Split(' ') switch
    {
        ["save", var number] => new Order.Train(new Assignment { Generation = long.Parse(number), SaveOnly = true }),
        ["train", var number] => Train(long.Parse(number)),
        ["wait"] => new Order.Wait(new Standby()),
        ["rejoin"] => new Order.Rejoin("lost"),
        ["go"] => new Order.Go("drained", Last: true),
        ["stop"] => new Order.Stop("asked", Over: false),
        _ => new Order.End(1, "failed"),
    };

    private static Order.Train Train(long generation, bool atOnce = false) => new(new Assignment { Generation = generation, AtOnce = atOnce });
}
