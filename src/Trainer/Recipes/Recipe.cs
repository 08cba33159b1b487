using DarkMatter.Data;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;

namespace DarkMatter.Trainer.Recipes;

/// <summary>
/// All options of a run. Sections are records beside what they steer; <see cref="RecipeSchema"/> names their keys in YAML.
/// </summary>
public sealed record Recipe
{
    /// <summary>The run's name unless <c>--run</c> gives another: 1 to 100 letters, digits, '.', '_' and '-'. Required.</summary>
    public string Name { get; init; } = "";

    /// <summary>Decides the order of samples, the augmentations and the first weights. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>Section <c>data</c>: what is read.</summary>
    public DataOptions Data { get; init; } = new();

    /// <summary>Section <c>views</c>: how an image becomes crops. Default: two of SimCLR's.</summary>
    public IReadOnlyList<ViewGroup> Views { get; init; } = [new ViewGroup()];

    /// <summary>Section <c>model</c>: the backbone.</summary>
    public BackboneOptions Model { get; init; } = new ResNetOptions();

    /// <summary>Section <c>method</c>: heads and loss of the one that <c>method.name</c> names. Default SimCLR.</summary>
    public MethodOptions Method { get; init; } = new SimClrOptions();

    /// <summary>Section <c>optimizer</c>: update rule and schedule.</summary>
    public OptimizerOptions Optimizer { get; init; } = new();

    /// <summary>Section <c>train</c>: batch, length, precision, how often a checkpoint is taken.</summary>
    public LengthOptions Train { get; init; } = new();

    /// <summary>Section <c>watch</c>: the look at the embeddings for signs of collapse.</summary>
    public WatchOptions Watch { get; init; } = new();

    /// <summary>Section <c>checkpoints</c>: where they lie and which stay.</summary>
    public CheckpointOptions Checkpoints { get; init; } = new();

    /// <summary>Section <c>evaluation</c>: how features are judged after training.</summary>
    public EvaluationOptions Evaluation { get; init; } = new();

    /// <summary>Section <c>local</c>: how <c>darkmatter pretrain</c> runs it on this machine.</summary>
    public LocalOptions Local { get; init; } = new();

    /// <summary>One recipe for each view of an image, in order.</summary>
    public IReadOnlyList<ViewRecipe> AllViews => [.. Views.SelectMany(group => Enumerable.Repeat(group.View, group.Count))];

    /// <summary>
    /// T: the steps of the whole run before any time budget, min(<c>max_steps</c>, epochs · ⌊N/B⌋), at least 1.
    /// </summary>
    /// <param name="samples">N, images of the dataset.</param>
    public long StepsFor(long samples)
    {
        var steps = (long)Math.Max(1, Math.Floor(Train.Epochs * (samples / Train.Batch)));
        return Train.MaxSteps > 0 ? Math.Min(steps, Train.MaxSteps) : steps;
    }
}

/// <summary>Views that are made alike.</summary>
public sealed record ViewGroup
{
    /// <summary>Key <c>count</c>: how many views of an image are made this way, 1 to 16. Default 2.</summary>
    public int Count { get; init; } = 2;

    /// <summary>How. Default: SimCLR's crop, flip and colour distortion without blur.</summary>
    public ViewRecipe View { get; init; } = new()
    {
        ColorJitter = new ColorJitterRecipe { Probability = 0.8, Brightness = 0.8, Contrast = 0.8, Saturation = 0.8, Hue = 0.2 },
        GrayscaleProbability = 0.2,
    };
}
