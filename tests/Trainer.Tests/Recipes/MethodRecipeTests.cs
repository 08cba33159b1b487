using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Recipes;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Interop;
using DarkMatter.Trainer.Tests.Training;

namespace DarkMatter.Trainer.Tests.Recipes;

/// <summary>A method is three files: itself, its recipe, its test.</summary>
[Collection(TorchCollection.Name)]
public sealed class MethodRecipeTests
{
    private static readonly string Root = Path.GetFullPath(Path.Combine(Peer.Folder, "..", ".."));

    public static TheoryData<string> Names => [.. MethodRegistry.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public void Method_OfTheRegistry_HasARecipeThatBuildsIt(string name)
    {
        var path = Path.Combine(Root, "recipes", $"{name.Replace('_', '-')}-fashion-mnist.yaml");
        var recipe = ResolvedRecipe.Load(path).Recipe;
        recipe.Method.Name.ShouldBe(name);
        var share = new RankShare(new SingleRank(1), [recipe.Train.Batch]);
        using var method = recipe.Method.Create(
            new MethodSetup(recipe.Model, new Normalization(TorchStack.Current, share.Ranks), share, [.. recipe.AllViews.Select(view => view.Size)]));
        method.Name.ShouldBe(name);
        method.Views.ShouldBe(recipe.AllViews.Count);
        method.Network.state_dict().Keys.ShouldContain("backbone.conv1.weight", "evaluation and export read the backbone under this name");
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
        var recipe = RecipeText.Parse($"name: try\ndata:\n  dataset: images\nmethod:\n  name: {name}\n").Recipe;
        recipe.Method.ShouldBe(MethodRegistry.Defaults(name));
        recipe.Method.Problems().ShouldBeEmpty();
    }

    [Fact]
    public void Name_Unknown_IsRefusedWithTheNearest() =>
        Should.Throw<RecipeException>(() => RecipeText.Parse("name: try\ndata:\n  dataset: images\nmethod:\n  name: simsam\n"))
            .Message.ShouldContain("did you mean simsiam?");

    [Fact]
    public void Key_OfAnotherMethod_IsRefused() =>
        Should.Throw<RecipeException>(() => RecipeText.Parse("name: try\ndata:\n  dataset: images\nmethod:\n  name: byol\n  temperature: 0.1\n"))
            .Message.ShouldContain("unknown key 'temperature'");
}
