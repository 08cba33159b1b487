using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Methods;

namespace DarkMatter.Trainer.Tests.Evaluation;

public sealed class LookHistoryTests
{
    private static readonly CollapseReport Healthy = new(0.09, 60, 0.2, -3, EmbeddingHealth.Healthy, "", 1, 1, Participation: 40, Apart: 1.9);
    private static readonly CollapseReport Point = Healthy with { Health = EmbeddingHealth.Collapsed, Reason = "all embeddings are nearly one point", Spread = 0.01 };
    private static readonly Plateau[] Perfect = [new(-1, "−1: every view predicts the other", "augment more strongly", Collapse: true)];

    [Fact]
    public void Judge_LossAtAPlateau_IsToldFromTheSecondLookAndACollapseAfterThePatience()
    {
        var history = new LookHistory(new WatchOptions { Patience = 4, OnCollapse = CollapseAction.Stop }, Perfect);
        Verdicts(history, 4, Healthy with { Loss = -0.998 }).ShouldBe(["healthy", "warning", "warning", "collapsed"]);
        history.MustAct.ShouldBeTrue();
        var last = history.Judge(Healthy with { Loss = -0.998 }, settled: true);
        last.Reason.ShouldBe("the loss stands at -0.998, near -1.000 = −1: every view predicts the other: augment more strongly");
        history.MustAct.ShouldBeFalse("it has just acted");
        Verdicts(history, 1, Healthy).ShouldBe(["healthy"]);
        Verdicts(history, 2, Healthy with { Loss = -0.998 }).ShouldBe(["healthy", "warning"], "it begins anew");
    }

    [Fact]
    public void Judge_LossAtAPlateauWhileWarmingUp_IsAWarningHoweverLong()
    {
        var history = new LookHistory(new WatchOptions { Patience = 2, OnCollapse = CollapseAction.Stop }, Perfect);
        for (var i = 0; i < 9; i++)
            history.Judge(Healthy with { Loss = -1 }, settled: false).Health.ShouldBe(i == 0 ? EmbeddingHealth.Healthy : EmbeddingHealth.Warning);
        history.MustAct.ShouldBeFalse();
        Verdicts(history, 2, Healthy with { Loss = -1 }).ShouldBe(["warning", "collapsed"], "the patience is counted from here on");
    }

    [Fact]
    public void Judge_PlateauThatIsNoCollapse_StaysAWarning()
    {
        var history = new LookHistory(new WatchOptions { Patience = 2, OnCollapse = CollapseAction.Stop }, [Perfect[0] with { Collapse = false }]);
        Verdicts(history, 5, Healthy with { Loss = -1 }).ShouldBe(["healthy", "warning", "warning", "warning", "warning"]);
        history.MustAct.ShouldBeFalse();
    }

    [Fact]
    public void Judge_PointAtAPlateau_SaysBoth()
    {
        var history = new LookHistory(new WatchOptions(), Perfect);
        history.Judge(Point with { Loss = -1 }, settled: true).Reason.ShouldBe(Point.Reason);
        history.Judge(Point with { Loss = -1 }, settled: true).Verdict.ShouldBe("collapsed: all embeddings are nearly one point; the loss stands at -1.000, near -1.000 = −1: every view predicts the other: augment more strongly");
        history.MustAct.ShouldBeFalse("the recipe only warns");
    }

    [Theory]
    [InlineData("contrastive_margin: 0.1", 0.0075, 0.01, false)]
    [InlineData("contrastive_margin: 0.1", 0.005, 1, false)]
    [InlineData("contrastive_margin: 0.1", 0.005, 0.01, true)]
    [InlineData("triplet: 0.2", 0.1995, 0.9, false)]
    [InlineData("triplet: 0.2", 0.196, 0.05, false)]
    [InlineData("triplet: 0.2", 0.1995, 0.2, true)]
    [InlineData("triplet, hardest: 0.2", 0.1995, 0.9, true)]
    [InlineData("byol", 0.015, 1, true)]
    [InlineData("byol", 0.05, 1, false)]
    public void Judge_SmallLosses_AreAtAPlateauOnlyWhereItIsOne(string method, double loss, double spread, bool stuck)
    {
        MethodOptions options = method.Split(':')[0] switch
        {
            "contrastive_margin" => new ContrastiveMarginOptions { Margin = 0.1 },
            "triplet" => new TripletOptions(),
            "triplet, hardest" => new TripletOptions { HardestNegative = true },
            _ => new ByolOptions(),
        };
        var history = new LookHistory(new WatchOptions(), options.Plateaus(256));
        Verdicts(history, 3, Healthy with { Loss = loss, Spread = spread })[^1].ShouldBe(stuck ? "collapsed" : "healthy");
    }

    [Fact]
    public void Judge_ViewsNoNearerThanImages_IsAWarningAfterThePatience()
    {
        var history = new LookHistory(new WatchOptions { Patience = 3 }, []);
        var unaligned = Healthy with { Alignment = 1.8 };
        Verdicts(history, 2, unaligned).ShouldBe(["healthy", "healthy"], "two heads begin as strangers");
        history.Judge(unaligned, settled: true).Verdict.ShouldStartWith("warning: two views of an image are no nearer than views of two images (squared distance 1.80 against 1.90)");
        Verdicts(history, 3, Point with { Alignment = 1e-5, Apart = 1e-5 }).ShouldAllBe(v => v == "collapsed");
        history.Judge(Point, settled: true).Reason.ShouldBe(Point.Reason, "in a point nothing is near or far");
    }

    [Fact]
    public void MustAct_CollapseThatStays_IsDueAtEveryMultipleOfThePatience()
    {
        var history = new LookHistory(new WatchOptions { Patience = 3, OnCollapse = CollapseAction.Pause }, []);
        List<int> due = [];
        for (var look = 1; look <= 10; look++)
        {
            history.Judge(Point, settled: true);
            if (history.MustAct)
                due.Add(look);
        }

        due.ShouldBe([3, 6, 9]);
        for (var look = 0; look < 9; look++)
            history.Judge(Point, settled: false).Verdict.ShouldBe("warning: before the learning rate has warmed up, " + Point.Reason);
        history.MustAct.ShouldBeFalse();
        Verdicts(history, 2, Point);
        history.Forget();
        Verdicts(history, 2, Point);
        history.MustAct.ShouldBeFalse();
    }

    [Fact]
    public void Judge_NotFiniteWhileWarmingUp_IsACollapse() =>
        new LookHistory(new WatchOptions(), []).Judge(Point with { Spread = double.NaN }, settled: false).Health.ShouldBe(EmbeddingHealth.Collapsed);

    private static string[] Verdicts(LookHistory history, int looks, CollapseReport look) =>
        [.. Enumerable.Range(0, looks).Select(_ => history.Judge(look, settled: true).Verdict.Split(':')[0])];
}
