using System.Text.Json.Nodes;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Commands;

namespace DarkMatter.Trainer.Tests.Commands;

public sealed class RunTextTests
{
    private static RunStatus Run()
    {
        var run = new RunStatus
        {
            Run = "demo",
            State = RunState.Training,
            Step = 12,
            TotalSteps = 90,
            Loss = double.NaN,
            Reason = "2 trainers go on",
            Notice = "trainer-1 is slow",
            Generation = 3,
            MinWorld = 1,
            MaxWorld = 8,
        };
        run.Members.Add(new Member { Name = "trainer-1", Rank = 1, Alive = true, Slow = true, ComputeSeconds = 0.25, Step = 12 });
        run.Members.Add(new Member { Name = "trainer-2", Rank = -1, Alive = true, Spare = true });
        return run;
    }

    private static string Printed(bool json)
    {
        using var text = new StringWriter();
        RunText.Print(Run(), json, text);
        return text.ToString();
    }

    [Fact]
    public void Print_ForPeople_NamesTheSlowAndTheSpare()
    {
        var lines = Printed(json: false).Split(Environment.NewLine);
        lines[0].ShouldBe("demo                             training     step 12/90  loss NaN  checkpoint 0");
        lines[1..4].ShouldBe(["  2 trainers go on", "  note: trainer-1 is slow", "  generation 3, 1 to 8 trainers (0 wanted), 0 images quarantined, 0 steps rolled back"]);
        lines[4].ShouldEndWith("step 12  alive, computes 0.25 s a step, SLOW: the others wait for it");
        lines[5].ShouldStartWith("  spare   trainer-2");
    }

    [Fact]
    public void Print_ForScripts_IsOneLineOfJson_WithoutNaN()
    {
        var shown = JsonNode.Parse(Printed(json: true))!;
        shown["state"]!.GetValue<string>().ShouldBe("training");
        shown["loss"].ShouldBeNull();
        shown["members"]![0]!["slow"]!.GetValue<bool>().ShouldBeTrue();
        shown["members"]![1]!["rank"]!.GetValue<int>().ShouldBe(-1);
    }
}
