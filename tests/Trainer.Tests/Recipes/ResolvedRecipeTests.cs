using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Recipes;
using static DarkMatter.Trainer.Tests.Recipes.RecipeText;

namespace DarkMatter.Trainer.Tests.Recipes;

public sealed class ResolvedRecipeTests
{
    private static readonly string Repository = FindRepository();

    [Fact]
    public void Minimal_IsFilledWithDefaults()
    {
        var recipe = Parse(Minimal).Recipe;
        recipe.Name.ShouldBe("try");
        recipe.Data.Dataset.ShouldBe("/recipes/images");
        recipe.Train.ShouldBe(new LengthOptions());
        recipe.Model.ShouldBe(new ResNetOptions());
        recipe.Optimizer.ShouldBe(new OptimizerOptions());
        recipe.AllViews.Count.ShouldBe(2);
    }

    [Fact]
    public void Values_AreRead()
    {
        var recipe = Parse(Minimal + """
            seed: -5
            views:
              - { count: 1, size: 32, scale: [0.2, 1.0], blur: { probability: 0.5, sigma: [0.1, 1.5], kernel: 3 } }
              - { count: 1, size: 32, color_jitter: { probability: 1, hue: 0.1 }, solarize: 0.2 }
            model: { backbone: resnet50, width: 32, stem: small_stride2, zero_init_residual: true }
            optimizer: { name: lars, lr: 1e-1, weight_decay: 1.0e-6 }
            train: { batch: 1_024, epochs: 2.5, budget: 1h30m, precision: bfloat16, sync_bn: false }
            """).Recipe;
        recipe.Seed.ShouldBe(-5);
        recipe.AllViews[0].ScaleMin.ShouldBe(0.2);
        recipe.AllViews[0].Blur.SigmaMax.ShouldBe(1.5);
        recipe.AllViews[1].ColorJitter.Hue.ShouldBe(0.1);
        recipe.AllViews[1].SolarizeProbability.ShouldBe(0.2);
        recipe.Model.ShouldBe(new ResNetOptions { Depth = 50, Width = 32, Stem = ResNetStem.SmallStride2, ZeroInitResidual = true });
        recipe.Optimizer.Name.ShouldBe(OptimizerName.Lars);
        recipe.Optimizer.LearningRate.ShouldBe(0.1);
        recipe.Train.Batch.ShouldBe(1024);
        recipe.Train.Budget.ShouldBe(TimeSpan.FromMinutes(90));
        recipe.Train.SyncBatchNorm.ShouldBeFalse();
    }

    [Fact]
    public void Checkpoints_AreRead_AndTheFormerNameOfAnOptionStillCounts()
    {
        var azure = Parse(Minimal + "checkpoints: { store: azure, container: runs, prefix: team/a, connection_env: STORE, keep_last: 5, keep_every: 10_000 }\n").Recipe.Checkpoints;
        azure.ShouldBe(new CheckpointOptions { Store = CheckpointPlace.Azure, Container = "runs", Prefix = "team/a", ConnectionEnv = "STORE", KeepLast = 5, KeepEvery = 10_000 });

        var old = Parse(Minimal + "train: { checkpoints_kept: 7 }\n");
        old.Recipe.Checkpoints.ShouldBe(new CheckpointOptions { KeepLast = 7 });
        old.Yaml.ShouldContain("  keep_last: 7\n");
        old.Yaml.ShouldNotContain("checkpoints_kept");
        Parse(old.Yaml).Yaml.ShouldBe(old.Yaml);
        Parse(Minimal + "train: { checkpoints_kept: 7 }\ncheckpoints: { keep_last: 2 }\n").Recipe.Checkpoints.KeepLast.ShouldBe(2);
        Parse(Minimal + "checkpoints: { keep_last: 9 }\n").ChangesThatForbidResume(old.Yaml + "").ShouldBeEmpty();
    }

    [Fact]
    public void Set_OverridesTheFile_InOrder()
    {
        var recipe = Parse(Minimal + "train: { batch: 64 }\nviews:\n  - { size: 28 }\n",
            "train.batch=128", "train.batch=192", "views[0].size=40", "views[0].scale=[0.5, 0.75]", "method={temperature: 0.2}").Recipe;
        recipe.Train.Batch.ShouldBe(192);
        recipe.AllViews[0].Size.ShouldBe(40);
        recipe.AllViews[0].ScaleMax.ShouldBe(0.75);
        ((SimClrOptions)recipe.Method).Temperature.ShouldBe(0.2);
    }

    [Fact]
    public void Set_Path_BelongsToTheWorkingFolder() =>
        Parse(Minimal, "data.dataset=elsewhere").Recipe.Data.Dataset.ShouldBe(Path.GetFullPath("elsewhere"));

    [Fact]
    public void Yaml_ReadBack_IsItself()
    {
        var first = Parse(Minimal + "train: { budget: 90s }\n", "name=again");
        var second = ResolvedRecipe.Parse(first.Yaml, "resolved", "/somewhere/else");
        second.Yaml.ShouldBe(first.Yaml);
        second.Digest.ShouldBe(first.Digest);
        second.ChangesSince(first.Yaml).ShouldBeEmpty();
    }

    [Fact]
    public void Yaml_DoesNotDependOnHowItWasWritten()
    {
        var block = Parse("name: try\ndata:\n  dataset: images\ntrain:\n  batch: 128\n  epochs: 2\n");
        var flow = Parse("{train: {epochs: 2.0, batch: 128}, data: {dataset: ./images}, name: 'try'}");
        flow.Digest.ShouldBe(block.Digest);
        Parse(Minimal, "train.batch=128", "train.epochs=2").Digest.ShouldBe(block.Digest);
    }

    [Fact]
    public void Yaml_NamesEveryOption()
    {
        var yaml = Parse(Minimal).Yaml;
        foreach (var line in new[] { "name: try", "  lanes: 16", "  - count: 2", "    color_jitter:", "  stem: imagenet", "  name: simclr", "  exclude_one_dimensional: true", "  budget: none", "  precision: auto", "    k: 200" })
        {
            yaml.Split('\n').ShouldContain(line);
        }
    }

    [Fact]
    public void Changes_AreNamedWithOldAndNew()
    {
        var old = Parse(Minimal).Yaml;
        var changes = Parse(Minimal, "optimizer.lr=0.5", "train.batch=512", "local.trainers=4").ChangesSince(old);
        changes.Select(change => change.ToString()).ShouldBe(["optimizer.lr: 0.06 -> 0.5", "train.batch: 256 -> 512", "local.trainers: 2 -> 4"]);
    }

    [Fact]
    public void Changes_OfWhereAndHow_DoNotForbidResume()
    {
        var old = Parse(Minimal).Yaml;
        Parse(Minimal, "local.trainers=4", "local.threads=2", "data.workers=3", "evaluation.bank=5000", "train.checkpoint_every=7")
            .ChangesThatForbidResume(old).ShouldBeEmpty();
        Parse(Minimal, "data.lanes=8", "local.trainers=4").ChangesThatForbidResume(old).ShouldHaveSingleItem().Name.ShouldBe("data.lanes");
    }

    [Theory]
    [InlineData(60_000, 256, 10, 0, 2340)]
    [InlineData(60_000, 256, 0.5, 0, 117)]
    [InlineData(60_000, 256, 10, 50, 50)]
    [InlineData(256, 256, 0.1, 0, 1)]
    public void StepsFor_FollowFromEpochsAndLimit(long samples, int batch, double epochs, long maxSteps, long expected) =>
        (new Recipe { Train = new LengthOptions { Batch = batch, Epochs = epochs, MaxSteps = maxSteps } }).StepsFor(samples).ShouldBe(expected);

    [Fact]
    public void EveryRecipeOfTheRepository_IsSound()
    {
        var files = Directory.GetFiles(Path.Combine(Repository, "recipes"), "*.yaml");
        files.ShouldNotBeEmpty();
        foreach (var file in files)
        {
            var recipe = ResolvedRecipe.Load(file).Recipe;
            recipe.Name.ShouldBe(Path.GetFileNameWithoutExtension(file));
            recipe.Data.Dataset.ShouldStartWith(Repository);
        }
    }

    [Theory]
    [InlineData("bacth", "batch")]
    [InlineData("learning-rate", "learning_rate")]
    [InlineData("temp", "temperature")]
    [InlineData("qqqq", null)]
    public void NearestName_Finds(string name, string? expected) =>
        NearestName.Find(name, ["batch", "learning_rate", "temperature", "momentum"]).ShouldBe(expected);

    [Theory]
    [InlineData("", "", 0)]
    [InlineData("kitten", "sitting", 3)]
    [InlineData("bacth", "batch", 1)]
    [InlineData("abc", "", 3)]
    public void Distance_CountsEdits(string a, string b, int expected)
    {
        NearestName.Distance(a, b).ShouldBe(expected);
        NearestName.Distance(b, a).ShouldBe(expected);
    }

    [Theory]
    [InlineData("90s", 90, "1m30s")]
    [InlineData("60", 60, "1m")]
    [InlineData("4m30s", 270, "4m30s")]
    [InlineData("1h", 3600, "1h")]
    [InlineData("500ms", 0.5, "0.5s")]
    [InlineData("2d", 172800, "2d")]
    [InlineData("0.5", 0.5, "0.5s")]
    public void TimeSpans_ReadAndWrite(string text, double seconds, string canonical)
    {
        TimeSpans.TryParse(text, out var span).ShouldBeTrue();
        span.TotalSeconds.ShouldBe(seconds, 1e-9);
        TimeSpans.Format(span).ShouldBe(canonical);
        TimeSpans.TryParse(canonical, out var again).ShouldBeTrue();
        again.ShouldBe(span);
    }

    [Theory]
    [InlineData("")]
    [InlineData("0")]
    [InlineData("-5s")]
    [InlineData("5 minutes")]
    [InlineData("5s3m")]
    [InlineData("999999d")]
    public void TimeSpans_RefuseOthers(string text) => TimeSpans.TryParse(text, out _).ShouldBeFalse();

    private static string FindRepository()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Distributed.sln")))
        {
            folder = Path.GetDirectoryName(folder) ?? throw new InvalidOperationException("Distributed.sln is not above the tests' folder");
        }
        return folder;
    }
}
