using System.CommandLine;
using DarkMatter.Data;
using DarkMatter.Trainer.Commands.Local;

namespace DarkMatter.Trainer.Commands;

/// <summary><c>darkmatter pack</c>: images into shards.</summary>
internal static class PackCommand
{
    private const string Description = """
        Packs images into shards (WebDataset tars), an index and a catalog. Broken images are named and left out. An interrupted pack goes on
        where it ended.

          darkmatter pack --folder photos --output data/photos
          darkmatter pack --idx images.gz --idx-labels labels.gz --output data/mnist
          darkmatter pack --tars 'shards/*.tar' --output data/web            index tars where they are
          darkmatter pack --recipe recipes/simclr-fashion-mnist.yaml         the datasets of a recipe
        """;

    public static Command Create()
    {
        var recipe = new RecipeArguments();
        var folder = new Option<string?>("--folder") { Description = "A folder of JPEG, PNG and WebP files.", HelpName = "DIR" };
        var labels = new Option<bool>("--labels-from-folders") { Description = "With --folder: the first folder level names the class." };
        var idx = new Option<string?>("--idx") { Description = "A file of images in the IDX format, plain or gzipped.", HelpName = "FILE" };
        var idxLabels = new Option<string?>("--idx-labels") { Description = "The labels of --idx.", HelpName = "FILE" };
        var tars = new Option<string?>("--tars") { Description = "WebDataset tars: one, a folder of them, or a pattern.", HelpName = "PATTERN" };
        var reshard = new Option<bool>("--reshard") { Description = "With --tars: copy the samples into new shards instead of indexing the tars where they are." };
        var output = new Option<string?>("--output", "-o") { Description = "The dataset's folder.", HelpName = "DIR" };
        var samples = new Option<int>("--shard-samples") { Description = "Most samples of a shard. Default 1000.", HelpName = "N", DefaultValueFactory = _ => 1000 };
        var most = new Option<long>("--images") { Description = "At most N images: a random choice that is the same every time. Default: all.", HelpName = "N" };
        var workers = new Option<int>("--workers") { Description = "Shards made at once. Default: the number of cores.", HelpName = "N", DefaultValueFactory = _ => Environment.ProcessorCount };

        var command = new Command("pack", Description);
        recipe.AddTo(command, required: false);
        foreach (var option in new Option[] { folder, labels, idx, idxLabels, tars, reshard, output, samples, most, workers })
        {
            command.Add(option);
        }
        command.Validators.Add(result =>
        {
            var sources = new Option[] { recipe.Recipe, folder, idx, tars }.Count(option => result.GetResult(option) is { Implicit: false });
            if (sources != 1)
            {
                result.AddError("give one source: --folder, --idx, --tars or --recipe");
            }
            if (result.GetResult(recipe.Recipe) is null && result.GetValue(output) is null)
            {
                result.AddError("--output is missing: the folder that gets the dataset");
            }
            if (result.GetResult(samples) is { Implicit: false } && result.GetValue(samples) < 1)
            {
                result.AddError($"--shard-samples is {result.GetValue(samples)}, but a shard has at least 1");
            }
            if (result.GetResult(most) is { Implicit: false })
            {
                if (result.GetValue(most) < 1)
                {
                    result.AddError($"--images is {result.GetValue(most)}, but a dataset has at least 1");
                }
                if (result.GetResult(recipe.Recipe) is not null)
                {
                    result.AddError("--images is for --folder, --idx and --tars; a recipe says data.source.images");
                }
                if (result.GetResult(tars) is not null && !result.GetValue(reshard))
                {
                    result.AddError("--images needs --reshard with --tars: without it tars are indexed where they are, all of their images");
                }
            }
            if (result.GetResult(workers) is { Implicit: false } && result.GetValue(workers) is < 1 or > 256)
            {
                result.AddError($"--workers is {result.GetValue(workers)}, but it is 1 to 256");
            }
        });
        command.SetAction(async (parsed, _) =>
        {
            using var interruption = new Interruption();
            var screen = Output.OfProcess();
            if (parsed.GetValue(recipe.Recipe) is not null)
            {
                var data = recipe.Load(parsed, []).Recipe.Data;
                await Datasets.EnsureAsync("data.dataset", data.Dataset, data.Source, screen, interruption.Token);
                if (data.Evaluation.Length > 0)
                {
                    await Datasets.EnsureAsync("data.evaluation", data.Evaluation, data.EvaluationSource, screen, interruption.Token);
                }
                return ExitCode.Done;
            }
            PackSource source = parsed.GetValue(folder) is { } path
                ? new PackSource.Folder(Path.GetFullPath(path), parsed.GetValue(labels))
                : parsed.GetValue(idx) is { } images
                    ? new PackSource.Idx(Path.GetFullPath(images), parsed.GetValue(idxLabels) is { } given ? Path.GetFullPath(given) : null)
                    : new PackSource.Tars(Datasets.ExpandTars(Path.GetFullPath(parsed.GetRequiredValue(tars)!)), parsed.GetValue(reshard));
            await Datasets.PackAsync(
                new PackOptions
                {
                    Source = source,
                    Destination = Path.GetFullPath(parsed.GetRequiredValue(output)!),
                    ShardSamples = parsed.GetValue(samples),
                    Images = parsed.GetValue(most),
                    Workers = parsed.GetValue(workers),
                },
                screen,
                interruption.Token);
            return ExitCode.Done;
        });
        return command;
    }
}
