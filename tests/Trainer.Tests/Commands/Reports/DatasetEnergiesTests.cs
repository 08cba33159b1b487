using DarkMatter.Data;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Commands;
using DarkMatter.Trainer.Commands.Local;
using DarkMatter.Trainer.Commands.Reports;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Recipes;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Evaluation;
using DarkMatter.Trainer.Tests.Recipes;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Commands.Reports;

[Collection(TorchCollection.Name)]
public sealed class DatasetEnergiesTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("energies").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [MemberData(nameof(MethodRecipeTests.Recipes), MemberType = typeof(MethodRecipeTests))]
    public void Views_OfEveryRecipe_AreTheFirstTwoThatShowAnImage(string file)
    {
        var recipe = MethodRecipeTests.Load(file);
        var (views, all) = (DatasetEnergies.Views(recipe), recipe.AllViews);
        views.ShouldAllBe(view => view.Grid == 1);
        views.ShouldBe(recipe.Method.Name == "pirl" ? [all[0], all[0]] : [all[0], all[1]]);
    }

    /// <summary>PIRL's second view is nine shuffled patches; its energy is of images.</summary>
    [Fact]
    public async Task MeasureAsync_PirlsOwnRecipe_PairsTwoViewsOfTheImageKind()
    {
        var recipe = MethodRecipeTests.Load("pirl-fashion-mnist.yaml", "model.width=8", "method.negatives=8", "method.projector_output=16", "train.batch=16");
        var folder = await SmallDataset.PackAsync(_folder, "images", 40, 28, seed: 1);
        using var model = Model(recipe, images: 40);
        var (matching, _) = await MeasureAsync(model, recipe, folder, 40);
        matching.Min().ShouldBeGreaterThan(1e-6, "the two views are not one");

        await using var loader = PretrainLoader.Open(new PretrainLoaderOptions
        {
            DatasetPath = folder,
            Seed = recipe.Seed,
            LaneCount = 1,
            Lanes = [0],
            GlobalBatch = 40,
            Views = [recipe.AllViews[0], recipe.AllViews[0]],
            BlockSize = recipe.Data.Block,
        });
        using var views = await loader.ReadAsync(CancellationToken.None);
        using var scope = NewDisposeScope();
        var (x, y) = (tensor(views.View(0).ToArray(), [40, 28, 28, 3]), tensor(views.View(1).ToArray(), [40, 28, 28, 3]));
        long[] each = [.. Enumerable.Range(0, 40)];
        matching.ShouldBe(model.Of(x, y, each, each));
    }

    [Theory]
    [InlineData(2, 2, 2)]
    [InlineData(6, 6, 24)]
    [InlineData(129, 129, 512)]    // the last image is alone in its batch
    [InlineData(130, 130, 514)]
    [InlineData(1000, 140, 560)]   // the dataset has no more: 4 · 128 and 4 · 12
    public async Task MeasureAsync_AnyNumberOfSamples_UsesEachOnce(int samples, int matching, int others)
    {
        var recipe = MethodRecipeTests.Load("simclr-fashion-mnist.yaml", "model.width=8");
        var folder = await SmallDataset.PackAsync(_folder, "images", 140, 28, seed: 1);
        using var model = Model(recipe);
        using var said = new StringWriter();
        var energies = await MeasureAsync(model, recipe, folder, samples, said);
        energies.Matching.Count.ShouldBe(matching);
        energies.Others.Count.ShouldBe(others);
        energies.Matching.Distinct().Count().ShouldBe(matching, "no image is taken twice");
        said.ToString().ShouldContain($"energies: images, {matching} of {matching}");
    }

    [Fact]
    public async Task MeasureAsync_DatasetOfOneImage_IsRefused()
    {
        var recipe = MethodRecipeTests.Load("simclr-fashion-mnist.yaml", "model.width=8");
        var folder = await SmallDataset.PackAsync(_folder, "images", 1, 28, seed: 1);
        using var model = Model(recipe);
        (await Should.ThrowAsync<CommandException>(() => MeasureAsync(model, recipe, folder, 1000))).Message.ShouldContain("it has 1 image; pairs that do not match need 2");
    }

    private static Task<(IReadOnlyList<double> Matching, IReadOnlyList<double> Others)> MeasureAsync(
        EnergyModel model, Recipe recipe, string folder, int samples, TextWriter? said = null) =>
        DatasetEnergies.MeasureAsync(model, recipe, folder, samples, new Output(said ?? TextWriter.Null, live: false, TimeSpan.Zero), CancellationToken.None);

    /// <summary>The recipe's method, untrained, by way of a checkpoint.</summary>
    private EnergyModel Model(Recipe recipe, long images = 0)
    {
        manual_seed(1);
        var setup = new MethodSetup(recipe.Model, new Normalization(TorchStack.Current, null), EnergyModel.Share(recipe.Train.Batch), [.. recipe.AllViews.Select(view => view.Size)]);
        var path = Path.Combine(_folder, "model.safetensors");
        using (var method = recipe.Method.Create(setup with { Images = images }))
            SafetensorsWriter.Write(path, new TensorSet(method.Network.state_dict().Select(t => (t.Key, t.Value))).Capture());
        return EnergyModel.Open(new EnergySetup(recipe.Method, setup, [0.3f, 0.3f, 0.3f], [0.3f, 0.3f, 0.3f], Float64: false), [path], TorchStack.Current);
    }
}
