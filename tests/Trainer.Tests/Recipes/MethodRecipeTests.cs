using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Recipes;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Interop;
using DarkMatter.Trainer.Tests.Training;

namespace DarkMatter.Trainer.Tests.Recipes;

/// <summary>A method is three kinds of file: itself, its recipes, its test; and an entry among the losses that other code computes.</summary>
[Collection(TorchCollection.Name)]
public sealed class MethodRecipeTests
{
    private static readonly string Root = Path.GetFullPath(Path.Combine(Peer.Folder, "..", ".."));

    public static TheoryData<string> Names => [.. MethodRegistry.Names];

    public static TheoryData<string> Recipes => [.. Directory.EnumerateFiles(Folder, "*.yaml").Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)];

    private static string Folder => Path.Combine(Root, "recipes");

    /// <summary>A recipe of the repository, with changes.</summary>
    public static Recipe Load(string file, params string[] sets) => ResolvedRecipe.Load(Path.Combine(Folder, file), sets).Recipe;

    [Theory]
    [MemberData(nameof(Names))]
    public void Method_OfTheRegistry_HasASmallRecipeAndOneOfReferenceScale(string name)
    {
        foreach (var dataset in (string[])["fashion-mnist", "imagenet"])
        {
            var recipe = ResolvedRecipe.Load(Path.Combine(Folder, $"{name.Replace('_', '-')}-{dataset}.yaml")).Recipe;
            recipe.Method.Name.ShouldBe(name);
            if (dataset == "imagenet")
                recipe.Model.ShouldBeOfType<ResNetOptions>().Depth.ShouldBe(50);
        }
    }

    /// <summary>Whole for small recipes; those of reference scale with a narrow backbone, for a ResNet-50 and its heads take seconds to make.</summary>
    [Theory]
    [MemberData(nameof(Recipes))]
    public void Recipe_OfTheRepository_IsSoundNamesItsSourceAndBuildsItsNetworks(string file)
    {
        var path = Path.Combine(Folder, file);
        var text = File.ReadAllText(path);
        (text.Contains("# Source:", StringComparison.Ordinal) || file == "simclr-fashion-mnist.yaml").ShouldBeTrue("a recipe says where its values come from");
        var recipe = ResolvedRecipe.Load(path).Recipe;
        $"{recipe.Name}.yaml".ShouldBe(file);
        var small = file.EndsWith("-fashion-mnist.yaml", StringComparison.Ordinal);
        var model = small ? recipe.Model : recipe.Model switch
        {
            ResNetOptions net => net with { Width = 8, Depth = 18 },
            _ => new RegNetOptions { Depth = 2, Width = 8, GroupWidth = 8, StemWidth = 8 },
        };
        var options = small ? recipe.Method : recipe.Method.Read(new Smaller(recipe.Train.Batch));
        var share = new RankShare(new SingleRank(1), [recipe.Train.Batch]);
        using var method = options.Create(new MethodSetup(model, new Normalization(TorchStack.Current, share.Ranks), share, [.. recipe.AllViews.Select(view => view.Size)]) { Images = 60_000 });
        method.Views.ShouldBe(recipe.AllViews.Count);
        method.Network.state_dict().Keys.ShouldContain(key => key.StartsWith("backbone.", StringComparison.Ordinal), "evaluation and export read the backbone under this name");
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Method_OfTheRegistry_HasATestOfItsOwnAndAPeer(string name)
    {
        var type = MethodRegistry.Defaults(name).GetType().Name[..^"Options".Length];
        var test = Path.Combine(Root, "tests", "Trainer.Tests", "Methods", $"{type}Tests.cs");
        File.Exists(test).ShouldBeTrue($"{type} has no test: {test}");
        File.ReadAllText(test).ShouldContain("WholeLoss.ShouldBe(", customMessage: "a method's test compares its loss of images with the paper's of its networks' outputs");
        var key = $"\"{name.Replace('_', '-')}\": (";
        File.ReadAllText(Path.Combine(Peer.Folder, "losses.py")).ShouldContain(key, customMessage: "a method's loss has a peer, in LOSSES under the method's name");
        File.ReadAllText(Path.Combine(Root, "tests", "Trainer.Tests", "Interop", "LossPeerTests.cs")).ShouldContain($"\"{name.Replace('_', '-')}\", [", customMessage: "its peer is asked");
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Method_OfTheRegistry_HasAFileThatNamesItsSource(string name)
    {
        var type = MethodRegistry.Defaults(name).GetType().Name[..^"Options".Length];
        var source = File.ReadAllText(Path.Combine(Root, "src", "Trainer", "Methods", $"{type}.cs"));
        source.ShouldContain("Source:", customMessage: "a method's file says which paper and code it follows");
        source.ShouldContain("<remarks>", customMessage: "a method's file begins with the legend of its letters");
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Options_ReadWithNothingGiven_AreTheDefaultsAndSound(string name)
    {
        var grid = MethodRegistry.Defaults(name).GridOf(1);
        var views = grid == 1 ? "" : $"views:\n  - count: 1\n    size: 24\n  - count: 1\n    size: 24\n    grid: {grid}\n";
        var recipe = RecipeText.Parse($"name: try\ndata:\n  dataset: images\n{views}method:\n  name: {name}\n").Recipe;
        recipe.Method.ShouldBe(MethodRegistry.Defaults(name));
        recipe.Method.Problems().ShouldBeEmpty();
    }

    [Fact]
    public void Name_Unknown_IsRefusedWithTheNearest() =>
        Should.Throw<RecipeException>(() => RecipeText.Parse("name: try\ndata:\n  dataset: images\nmethod:\n  name: simsam\n"))
            .Message.ShouldContain("did you mean simsiam?");

    [Fact]
    public void Views_WithoutThePatchesThatAMethodNeeds_AreRefused() =>
        Should.Throw<RecipeException>(() => RecipeText.Parse("name: try\ndata:\n  dataset: images\nviews:\n  - count: 2\n    size: 24\nmethod:\n  name: pirl\n"))
            .Message.ShouldContain("view 2 of an image has grid: 1, but pirl needs 3 there");

    [Fact]
    public void Key_OfAnotherMethod_IsRefused() =>
        Should.Throw<RecipeException>(() => RecipeText.Parse("name: try\ndata:\n  dataset: images\nmethod:\n  name: byol\n  temperature: 0.1\n"))
            .Message.ShouldContain("unknown key 'temperature'");

    /// <summary>Widths that take no time to make; what depends on the batch stays.</summary>
    private sealed class Smaller(int batch) : IOptionReader
    {
        public double Real(string key, double value, double min, double max, bool aboveMin) => value;

        public int Count(string key, int value, int min, int max) => value % batch == 0 ? value : Math.Min(value, Math.Max(min, 16));

        public long Whole(string key, long value, long min, long max) => value;

        public bool Switch(string key, bool value) => value;
    }
}
