using System.Formats.Tar;
using System.Net;
using System.Net.Sockets;

namespace DarkMatter.EndToEnd.Tests;

/// <summary>Every bad input ends at once, with exit code 2 and a message that says what is wrong, where, and what to do.</summary>
public sealed class BadInputTests(Workshop workshop)
{
    private const int BadRequest = 2;

    private async Task<Finished> PretrainAsync(params string[] more) =>
        (await Command.RunAsync(workshop.Path, ["pretrain", "--recipe", "small.yaml", .. more])).ShouldEndWith(BadRequest);

    private async Task<Finished> RecipeAsync(string recipe) =>
        (await Command.RunAsync(workshop.Path, "pretrain", "--recipe", recipe)).ShouldEndWith(BadRequest);

    [Fact]
    public async Task RecipeKey_Unknown_NearestOffered()
    {
        workshop.WriteRecipe("unknown-key.yaml", Workshop.Recipe.Replace("temperature:", "temprature:", StringComparison.Ordinal));
        (await RecipeAsync("unknown-key.yaml")).ShouldSay("did you mean 'temperature'?");
    }

    [Fact]
    public async Task RecipeKey_UnknownInSet_NearestOffered() =>
        (await PretrainAsync("--set", "train.bacth=96")).ShouldSay("--set: unknown key 'bacth': 'train' does not have it; did you mean 'batch'?");

    [Fact]
    public async Task RecipeValue_WrongType_SaysWhatIsWanted()
    {
        workshop.WriteRecipe("wrong-type.yaml", Workshop.Recipe.Replace("seed: 7", "seed: seven", StringComparison.Ordinal));
        (await RecipeAsync("wrong-type.yaml")).ShouldSay("wrong-type.yaml:2:7: seed is 'seven', but it must be a whole number");
    }

    [Fact]
    public async Task Batch_NotDivisibleIntoLanes_SaysWhichValuesWork() =>
        (await PretrainAsync("--set", "train.batch=50")).ShouldSay("train.batch is 50, which 12 lanes (data.lanes) cannot share equally; set train.batch to 48 or 60, or data.lanes to 10");

    [Fact]
    public async Task Recipe_Missing_IsNamed() =>
        (await RecipeAsync("smal.yaml")).ShouldSay("smal.yaml:1:1: there is no such file; did you mean small.yaml?");

    [Fact]
    public async Task Dataset_Missing_SaysWhereAndHow()
    {
        var finished = await PretrainAsync("--run", workshop.NewRun("missing"), "--set", "data.dataset=nowhere", "--set", "data.source={}");
        finished.ShouldSay($"data.dataset: there is no packed dataset in {workshop.In("nowhere")}");
        finished.ShouldSay("darkmatter pack");
    }

    [Fact]
    public async Task Dataset_OfMoreImagesThanTheRecipeWants_IsNotTrainedOn()
    {
        await workshop.PackAsync();
        (await PretrainAsync("--run", workshop.NewRun("fewer"), "--set", "data.source.images=24")).ShouldSay("images, but the recipe wants 24 of them (data.source.images)");
    }

    [Fact]
    public async Task Pack_SomeImagesOfTars_SaysWhatItNeeds() =>
        (await Command.RunAsync(workshop.Path, "pack", "--tars", "some.tar", "--output", "data/some", "--images", "5")).ShouldEndWith(BadRequest).ShouldSay("--images needs --reshard");

    [Fact]
    public async Task Source_Missing_IsNamed() =>
        (await PretrainAsync("--run", workshop.NewRun("no-source"), "--set", "data.dataset=nowhere", "--set", "data.source={idx: absent-images}")).ShouldSay(workshop.In("absent-images"));

    [Fact]
    public async Task Folder_Empty_SaysSo()
    {
        Directory.CreateDirectory(workshop.In("empty"));
        (await Command.RunAsync(workshop.Path, "pack", "--folder", "empty", "--output", "data/empty")).ShouldEndWith(BadRequest)
            .ShouldSay($"{workshop.In("empty")}: the folder is empty. Give a folder with images; it is searched with all its subfolders.");
    }

    [Fact]
    public async Task Tar_Truncated_IsNamed()
    {
        var tar = workshop.In("whole.tar");
        await using (var writer = new TarWriter(File.Create(tar)))
        {
            for (var i = 0; i < 3; i++)
            {
                await writer.WriteEntryAsync(new PaxTarEntry(TarEntryType.RegularFile, $"{i}.png") { DataStream = new MemoryStream(new byte[4000]) }, CancellationToken.None);
            }
        }
        await File.WriteAllBytesAsync(workshop.In("truncated.tar"), (await File.ReadAllBytesAsync(tar))[..6000]);
        (await Command.RunAsync(workshop.Path, "pack", "--tars", "truncated.tar", "--output", "data/truncated")).ShouldEndWith(BadRequest)
            .ShouldSay($"{workshop.In("truncated.tar")}: the tar is cut off: it ends at byte 6000");
    }

    [Fact]
    public async Task Image_Corrupt_IsNamedAndLeftOut()
    {
        Directory.CreateDirectory(workshop.In("photos"));
        // A PNG of one gray pixel, and one that breaks off.
        var png = Convert.FromBase64String("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==");
        await File.WriteAllBytesAsync(workshop.In("photos", "good.png"), png);
        await File.WriteAllBytesAsync(workshop.In("photos", "bad.png"), png[..40]);
        var finished = (await Command.RunAsync(workshop.Path, "pack", "--folder", "photos", "--output", "data/photos")).ShouldEndWith(0);
        finished.ShouldSay("1 images in 1 shards, 1 broken left out");
        finished.ShouldSay("broken: bad.png");
    }

    [Fact]
    public async Task Recipe_ChangedOnResume_KeysAreNamed()
    {
        var run = workshop.NewRun("changed");
        (await Command.RunAsync(workshop.Path, "pretrain", "--recipe", "small.yaml", "--run", run, "--output", $"out/{run}", "--set", "train.max_steps=3", "--no-evaluation")).ShouldEndWith(0);
        var refused = await PretrainAsync("--run", run, "--output", $"out/{run}", "--resume", "--set", "train.max_steps=3", "--set", "optimizer.lr=0.5", "--set", "model.width=16");
        refused.ShouldSay($"run '{run}' cannot be resumed, because its recipe changed");
        refused.ShouldSay("model.width: 8 -> 16");
        refused.ShouldSay("optimizer.lr: 0.01 -> 0.5");
    }

    [Fact]
    public async Task Run_ThatExists_AsksForAChoice()
    {
        var run = workshop.NewRun("exists");
        (await Command.RunAsync(workshop.Path, "pretrain", "--recipe", "small.yaml", "--run", run, "--output", $"out/{run}", "--set", "train.max_steps=3", "--no-evaluation")).ShouldEndWith(0);
        var refused = await PretrainAsync("--run", run, "--output", $"out/{run}");
        refused.ShouldSay($"run '{run}' exists already");
        refused.ShouldSay("--resume");
    }

    [Fact]
    public async Task Port_Taken_IsNamed()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var port = ((IPEndPoint)taken.LocalEndpoint).Port;
        var run = workshop.NewRun("port");
        (await PretrainAsync("--run", run, "--output", $"out/{run}", "--port", $"{port}")).ShouldSay($"Port {port} on 127.0.0.1 is taken by another program");
        Command.LeftOver(workshop.In("out", run)).ShouldBeEmpty();
    }

    [Fact]
    public async Task Run_TwiceAtOnce_SecondIsRefused_AndTheFirstStopsCleanly()
    {
        var run = workshop.NewRun("twice");
        await using var first = Command.Start(workshop.Path, "pretrain", "--recipe", "small.yaml", "--run", run, "--output", $"out/{run}", "--set", "train.max_steps=100000");
        await first.UntilAsync(() => File.Exists(workshop.In("out", run, "steps.csv")), "the first step");
        (await PretrainAsync("--run", run, "--output", $"out/{run}")).ShouldSay($"run '{run}' is being trained right now by process {first.Id}");
        first.Signal("TERM");
        var stopped = (await first.FinishAsync()).ShouldEndWith(5);
        stopped.ShouldSay("go on with");
        Command.LeftOver(workshop.In("out", run)).ShouldBeEmpty();
    }

    [Theory]
    [InlineData("--unknown", "--unknown")]
    [InlineData("--seconds=never", "--seconds is 'never', but it is a span of time")]
    [InlineData("--port=99999", "--port is 99999")]
    public async Task CommandLine_Wrong_SaysSo(string argument, string expected) => (await PretrainAsync(argument)).ShouldSay(expected);
}
