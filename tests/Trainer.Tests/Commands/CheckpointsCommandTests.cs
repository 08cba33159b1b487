using System.Diagnostics;
using System.Text.Json.Nodes;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Commands;
using DarkMatter.Trainer.Tests.Checkpoints;

namespace DarkMatter.Trainer.Tests.Commands;

[Collection(PlacesCollection.Name)]
public sealed class CheckpointsCommandTests(Places places) : IDisposable
{
    private const string Variable = "DARKMATTER_TEST_COMMAND";

    private readonly string _folder = Directory.CreateTempSubdirectory("checkpoints-command").FullName;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private string Run => Path.Combine(_folder, "demo");

    public void Dispose()
    {
        Environment.SetEnvironmentVariable(Variable, null);
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task List_OfARunsFolder_ShowsEachWithItsParts()
    {
        using var store = await LocalAsync();
        var (code, output, _) = Command("list", "demo", "--folder", _folder);
        code.ShouldBe(ExitCode.Done);
        var lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        lines.Length.ShouldBe(2);
        lines[0].ShouldStartWith("step 10 ");
        lines[1].ShouldContain("3 parts");
        lines[1].ShouldContain(store.PathOf(20));
    }

    [Fact]
    public async Task Verify_OneBroken_NamesItAndFails()
    {
        using var store = await LocalAsync();
        Command("verify", Run).Code.ShouldBe(ExitCode.Done);
        await store.Blobs.DamageAsync("20/model-00002-of-00003.safetensors", bytes => bytes[..^1]);
        var (code, output, _) = Command("verify", Run, "--json");
        code.ShouldBe(ExitCode.Failed);
        var rows = JsonNode.Parse(output)!.AsArray();
        rows.Select(row => (string?)row!["state"]).ShouldBe(["whole", "broken"]);
        ((string?)rows[1]!["problem"]).ShouldNotBeNull().ShouldContain("model-00002-of-00003.safetensors has ");
        ((int?)rows[0]!["parts"]).ShouldBe(2);

        Command("verify", Run, "--step", "10").Code.ShouldBe(ExitCode.Done);
        var none = Command("verify", Run, "--step", "11");
        none.Code.ShouldBe(ExitCode.BadRequest);
        none.Error.ShouldContain("there is no checkpoint of step 11");
    }

    [Fact]
    public async Task Verify_OfARunInABlobStore_GoesByItsRecipe()
    {
        Environment.SetEnvironmentVariable(Variable, places.ConnectionString);
        Directory.CreateDirectory(Run);
        await File.WriteAllTextAsync(Path.Combine(Run, "recipe.yaml"), $$"""
            name: demo
            data: { dataset: images }
            checkpoints: { store: azure, container: commands, prefix: {{Guid.NewGuid():N}}, connection_env: {{Variable}} }
            """, Token);
        using var store = RunStore.TryOpen(Run).ShouldNotBeNull();
        await store.PublishWholeAsync(10);
        await store.PublishWholeAsync(20);
        await store.Blobs.DamageAsync("20/optimizer-00001-of-00002.safetensors", bytes => [.. bytes[..^1], (byte)(bytes[^1] ^ 4)]);
        var (code, output, _) = Command("verify", "demo", "--folder", _folder);
        code.ShouldBe(ExitCode.Failed);
        output.ShouldContain($"whole  {store.PathOf(10)}");
        output.ShouldContain("its SHA-256 differs");

        using var weights = await TrainedWeights.FindAsync(Run, _ => { }, Token);
        weights.Name.ShouldBe(store.PathOf(10), "the newest that is whole");
        weights.Files.Count.ShouldBe(2);
        weights.Files.ShouldAllBe(file => File.Exists(file));
        weights.Dispose();
        weights.Files.ShouldAllBe(file => !File.Exists(file));
    }

    [Fact]
    public void NoRun_SaysWhereItLooked()
    {
        var (code, _, error) = Command("list", "nowhere", "--folder", _folder);
        code.ShouldBe(ExitCode.BadRequest);
        error.ShouldContain($"there is no run in {Path.Combine(_folder, "nowhere")}");
    }

    private async Task<CheckpointStore> LocalAsync()
    {
        var store = CheckpointFolder.Store(Run);
        await store.PublishWholeAsync(10);
        await store.PublishWholeAsync(20, world: 3);
        return store;
    }

    private static (int Code, string Output, string Error) Command(params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "darkmatter.dll"), "checkpoints", .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var error = process.StandardError.ReadToEndAsync(Token);
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit(TimeSpan.FromMinutes(2)).ShouldBeTrue();
        return (process.ExitCode, output, error.GetAwaiter().GetResult());
    }
}
