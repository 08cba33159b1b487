namespace DarkMatter.EndToEnd.Tests;

/// <summary>A run that must collapse (SimSiam with the gradient let through) is found out while it trains and, if the recipe says so, ends.</summary>
public sealed class CollapseTests(Workshop workshop)
{
    private const int Stopped = 5;

    private string Collapsing() => workshop.WriteRecipe("collapse.yaml", Workshop.Recipe
        .Replace("method: { temperature: 0.2, projector_output: 32 }", "method: { name: simsiam, projector_output: 32, predictor_hidden: 8, stop_gradient: false }", StringComparison.Ordinal)
        .Replace("lr: 0.01, warmup: 0.5", "lr: 0.1, warmup: 0.01", StringComparison.Ordinal)
        .Replace("max_steps: 20,", "max_steps: 3000,", StringComparison.Ordinal)
        + "\nwatch: { every: 5, patience: 2, on_collapse: stop }\n");

    [Fact]
    public async Task Pretrain_CollapseWithStop_EndsWithACheckpointTheCauseAndARemedy()
    {
        var run = workshop.NewRun("collapse-stop");
        var output = workshop.In("out", run);
        var finished = (await Command.RunAsync(workshop.Path, "pretrain", "--recipe", Collapsing(), "--run", run, "--output", output, "--no-evaluation")).ShouldEndWith(Stopped);
        finished.ShouldSay(": collapsed: all embeddings ");
        finished.ShouldSay("check that the method keeps what prevents collapse");
        Directory.EnumerateFiles(Path.Combine(output, "checkpoints"), "manifest.json", SearchOption.AllDirectories).ShouldNotBeEmpty();
        var looks = File.ReadAllLines(Path.Combine(output, "watch.csv"));
        looks[0].ShouldBe("step,loss,embedding_std,spread,effective_rank,participation,alignment,uniformity,verdict");
        looks.Count(row => row.Contains("\"collapsed: ", StringComparison.Ordinal)).ShouldBeInRange(2, 100);
    }
}
