using DarkMatter.Data;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Recipes;
using Grpc.Core;

namespace DarkMatter.Trainer.Commands;

/// <summary>What a silo is told of a new run.</summary>
internal static class RunRequest
{
    /// <summary>The request for a recipe on a dataset; its length, resumption and limits of the world are still to be set.</summary>
    public static CreateRunRequest For(string run, ResolvedRecipe recipe, Catalog catalog, int trainers) => new()
    {
        Run = run,
        RecipeYaml = recipe.Yaml,
        World = trainers,
        Lanes = recipe.Recipe.Data.Lanes,
        Batch = recipe.Recipe.Train.Batch,
        Dataset = recipe.Recipe.Data.Dataset,
        DatasetDigest = catalog.Digest,
        Samples = catalog.SampleCount,
    };

    /// <summary>Whether the silo understood the request and will not do it; else it was not reached.</summary>
    public static bool IsRefusal(RpcException e) =>
        e.StatusCode is StatusCode.AlreadyExists or StatusCode.NotFound or StatusCode.FailedPrecondition or StatusCode.InvalidArgument;
}
