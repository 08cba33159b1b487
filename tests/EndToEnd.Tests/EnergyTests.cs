using System.Formats.Tar;
using System.Text.Json;

namespace DarkMatter.EndToEnd.Tests;

/// <summary>What can be asked of a trained run: energies of images and of a dataset, and a linear classifier on its features.</summary>
public sealed class EnergyTests(Workshop workshop)
{
    private const int BadRequest = 2;

    [Fact]
    public async Task Energy_OfATrainedRun_TellsViewsOfOneImageFromOthers_AndRefusesWhatItCannotAnswer()
    {
        var run = workshop.NewRun("energy");
        var output = workshop.In("out", run);
        (await Command.RunAsync(workshop.Path, "pretrain", "--recipe", "small.yaml", "--run", run, "--output", output, "--set", "train.max_steps=120")).ShouldEndWith(0);
        string[] images = [.. Images(3)];

        using var matrix = await AskAsync(0, [output, .. images, "--json"]);
        matrix.RootElement.GetProperty("symmetric").GetBoolean().ShouldBeTrue();
        var energy = matrix.RootElement.GetProperty("energy");
        for (var x = 0; x < 3; x++)
        {
            energy[x][x].GetDouble().ShouldBe(0, 1e-5, "an image is compatible with itself");
            for (var y = 0; y < 3; y++)
                energy[x][y].GetDouble().ShouldBe(energy[y][x].GetDouble(), 1e-6);
        }

        (await EnergyAsync([output, .. images, "--set", "data.dataset=."])).ShouldEndWith(0).Output.ShouldContain("simclr: energies of 3 images; low = compatible");

        var picture = workshop.In(run + ".svg");
        using var drawn = await AskAsync(0, [output, "--dataset", "data/test", "--samples", "97", "--output", picture, "--json"]);
        drawn.RootElement.GetProperty("auc").GetDouble().ShouldBeInRange(0.6, 1);
        drawn.RootElement.GetProperty("matching_pairs").GetInt32().ShouldBe(97);
        File.ReadAllText(picture).ShouldStartWith("<svg ");

        using var judged = JsonDocument.Parse((await Command.RunAsync(workshop.Path, "evaluate", "--weights", output, "--linear", "--json")).ShouldEndWith(0).Output);
        judged.RootElement.GetProperty("linear").GetDouble().ShouldBeInRange(0.4, 1, "chance is 0.25");

        (await EnergyAsync(output, images[0])).ShouldEndWith(BadRequest).ShouldSay("1 image given, but an energy is of a pair: give 2 to 64");
        (await EnergyAsync(output)).ShouldEndWith(BadRequest).ShouldSay("give either images or --dataset");
        (await EnergyAsync(output, images[0], "small.yaml")).ShouldEndWith(BadRequest).ShouldSay("small.yaml: it is no image that can be read");
        (await EnergyAsync(output, images[0], "absent.png")).ShouldEndWith(BadRequest).ShouldSay("absent.png");
        (await EnergyAsync(Path.Combine(output, "encoder.safetensors"), images[0], images[1])).ShouldEndWith(BadRequest).ShouldSay("energy needs all of simclr, heads included");
        (await EnergyAsync(output, "--dataset", "data/test", "--output", "absent/energy.svg")).ShouldEndWith(BadRequest).ShouldSay("--output: absent/energy.svg cannot be written");
        (await EnergyAsync(output, "--dataset", ".")).ShouldEndWith(BadRequest).ShouldSay("It is not a packed dataset yet");
        var whole = await File.ReadAllBytesAsync(Path.Combine(workshop.Path, output, "encoder.safetensors"));
        await File.WriteAllBytesAsync(Path.Combine(workshop.Path, output, "cut.safetensors"), whole[..^100]);
        (await EnergyAsync(Path.Combine(output, "cut.safetensors"), images[0], images[1])).ShouldEndWith(BadRequest).ShouldSay("cut.safetensors");
    }

    private Task<Finished> EnergyAsync(params string[] arguments) => Command.RunAsync(workshop.Path, ["energy", "-c", .. arguments]);

    private async Task<JsonDocument> AskAsync(int code, string[] arguments) => JsonDocument.Parse((await EnergyAsync(arguments)).ShouldEndWith(code).Output);

    /// <summary>The first images of the packed test set, as files.</summary>
    private IEnumerable<string> Images(int count)
    {
        using var tar = new TarReader(File.OpenRead(Directory.EnumerateFiles(workshop.In("data", "test"), "*.tar").Order(StringComparer.Ordinal).First()));
        for (var found = 0; found < count && tar.GetNextEntry() is { } entry;)
        {
            if (!entry.Name.EndsWith(".png", StringComparison.Ordinal))
                continue;
            var path = workshop.In($"energy-{found++}.png");
            entry.ExtractToFile(path, overwrite: true);
            yield return path;
        }
    }
}
