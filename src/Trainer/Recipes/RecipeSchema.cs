using System.Globalization;
using DarkMatter.Data;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;

namespace DarkMatter.Trainer.Recipes;

/// <summary>The keys of a recipe in YAML: each option's name, type and range, once, in canonical order.</summary>
internal static class RecipeSchema
{
    private const int MostViews = 16;
    private const int MostKept = 1_000_000;

    public static Recipe Read(RecipeSection top, Recipe d)
    {
        var recipe = d with
        {
            Name = top.Words("name", d.Name),
            Seed = top.Whole("seed", d.Seed),
            Data = top.Section("data", d.Data, Data),
            Views = top.Sections("views", d.Views, new ViewGroup(), 1, MostViews, Views),
            Model = top.Section("model", d.Model, Model),
        };
        var method = top.Section("method", d.Method, Method);
        var optimizer = top.Section("optimizer", d.Optimizer, Optimizer);
        var (train, kept) = top.Section("train", (d.Train, default(int?)), Train);
        return recipe with
        {
            Method = method,
            Optimizer = optimizer,
            Train = train,
            Watch = top.Section("watch", d.Watch, Watch),
            Checkpoints = top.Section("checkpoints", d.Checkpoints with { KeepLast = kept ?? d.Checkpoints.KeepLast }, Checkpoints),
            Evaluation = top.Section("evaluation", d.Evaluation, Evaluation),
            Local = top.Section("local", d.Local, Local),
        };
    }

    /// <summary>Whether a run may go on with another value: it is about where and how, never about what is computed.</summary>
    public static bool MayChangeOnResume(string name) =>
        name is "name" or "data.dataset" or "data.evaluation" or "data.prefetch" or "data.workers"
            or "train.budget" or "train.checkpoint_every" or "train.checkpoints_kept" or "train.hash_every"
        || name.StartsWith("watch.", StringComparison.Ordinal)
        || name.StartsWith("checkpoints.", StringComparison.Ordinal)
        || name.StartsWith("data.source.", StringComparison.Ordinal)
        || name.StartsWith("data.evaluation_source.", StringComparison.Ordinal)
        || name.StartsWith("evaluation.", StringComparison.Ordinal)
        || name.StartsWith("local.", StringComparison.Ordinal);

    private static DataOptions Data(RecipeSection s, DataOptions d) => new()
    {
        Dataset = s.FilePath("dataset", d.Dataset),
        Source = s.Section("source", d.Source, Source),
        Evaluation = s.FilePath("evaluation", d.Evaluation),
        EvaluationSource = s.Section("evaluation_source", d.EvaluationSource, Source),
        Lanes = s.Count("lanes", d.Lanes, 1, 4096),
        Block = s.Count("block", d.Block, 1, 1 << 24),
        Mean = s.Reals("mean", d.Mean, 3, 0, 1),
        Std = s.Reals("std", d.Std, 3, 1e-6, 1),
        Prefetch = s.Count("prefetch", d.Prefetch, 1, 64),
        Workers = s.Count("workers", d.Workers, 1, 256),
    };

    private static SourceOptions Source(RecipeSection s, SourceOptions d) => new()
    {
        Idx = s.FilePath("idx", d.Idx),
        IdxLabels = s.FilePath("idx_labels", d.IdxLabels),
        Folder = s.FilePath("folder", d.Folder),
        LabelsFromFolders = s.Switch("labels_from_folders", d.LabelsFromFolders),
        Tars = s.FilePath("tars", d.Tars),
        Images = s.Whole("images", d.Images, 0, 1L << 40),
    };

    private static ViewGroup Views(RecipeSection s, ViewGroup d)
    {
        var count = s.Count("count", d.Count, 1, MostViews);
        var size = s.Count("size", d.View.Size, 8, 1024);
        var scale = s.Range("scale", d.View.ScaleMin, d.View.ScaleMax, 0.001, 1);
        var ratio = s.Range("ratio", d.View.RatioMin, d.View.RatioMax, 0.1, 10);
        return new ViewGroup
        {
            Count = count,
            View = new ViewRecipe
            {
                Size = size,
                ScaleMin = scale.Min,
                ScaleMax = scale.Max,
                RatioMin = ratio.Min,
                RatioMax = ratio.Max,
                FlipProbability = s.Real("flip", d.View.FlipProbability, 0, 1),
                ColorJitter = s.Section("color_jitter", d.View.ColorJitter, Jitter),
                GrayscaleProbability = s.Real("grayscale", d.View.GrayscaleProbability, 0, 1),
                Blur = s.Section("blur", d.View.Blur, Blur),
                SolarizeProbability = s.Real("solarize", d.View.SolarizeProbability, 0, 1),
                SolarizeThreshold = s.Real("solarize_threshold", d.View.SolarizeThreshold, 0, 256),
                Grid = s.Count("grid", d.View.Grid, 1, 8),
                GridGap = s.Count("grid_gap", d.View.GridGap, 0, 256),
            },
        };
    }

    private static ColorJitterRecipe Jitter(RecipeSection s, ColorJitterRecipe d) => new()
    {
        Probability = s.Real("probability", d.Probability, 0, 1),
        Brightness = s.Real("brightness", d.Brightness, 0, 10),
        Contrast = s.Real("contrast", d.Contrast, 0, 10),
        Saturation = s.Real("saturation", d.Saturation, 0, 10),
        Hue = s.Real("hue", d.Hue, 0, 0.5),
    };

    private static BlurRecipe Blur(RecipeSection s, BlurRecipe d)
    {
        var probability = s.Real("probability", d.Probability, 0, 1);
        var sigma = s.Range("sigma", d.SigmaMin, d.SigmaMax, 0.001, 100);
        return new BlurRecipe
        {
            Probability = probability,
            SigmaMin = sigma.Min,
            SigmaMax = sigma.Max,
            KernelSize = s.Count("kernel", d.KernelSize, 1, 255),
        };
    }

    /// <summary>Which keys there are depends on the backbone.</summary>
    private static BackboneOptions Model(RecipeSection s, BackboneOptions d)
    {
        var name = s.OneOf("backbone", d.Architecture, [.. ResNetOptions.Depths.Select(depth => $"resnet{depth}"), .. RegNetOptions.Names]);
        return name.StartsWith("resnet", StringComparison.Ordinal)
            ? Model(s, (d as ResNetOptions ?? new ResNetOptions()) with { Depth = int.Parse(name["resnet".Length..], CultureInfo.InvariantCulture) })
            : Model(s, RegNetOptions.Of(name));
    }

    private static ResNetOptions Model(RecipeSection s, ResNetOptions d) => d with
    {
        Width = s.Count("width", d.Width, 8, 512),
        Stem = s.Choice("stem", d.Stem),
        ZeroInitResidual = s.Switch("zero_init_residual", d.ZeroInitResidual),
    };

    private static RegNetOptions Model(RecipeSection s, RegNetOptions d)
    {
        var small = s.Switch("small_stem", d.SmallStem);
        return d.Size != "regnet_y" ? d with { SmallStem = small } : d with
        {
            SmallStem = small,
            StemWidth = s.Count("stem_width", d.StemWidth, 8, 512),
            Depth = s.Count("depth", d.Depth, 1, 64),
            Width = s.Count("width", d.Width, 8, 4096),
            Slope = s.Real("slope", d.Slope, 0, 4096),
            Factor = s.Real("factor", d.Factor, 1, 16, aboveMin: true),
            GroupWidth = s.Count("group_width", d.GroupWidth, 1, 4096),
        };
    }

    /// <summary>Which keys there are depends on the name.</summary>
    private static MethodOptions Method(RecipeSection s, MethodOptions d)
    {
        var name = s.OneOf("name", d.Name, MethodRegistry.Names);
        return (name == d.Name ? d : MethodRegistry.Defaults(name)).Read(s);
    }

    private static OptimizerOptions Optimizer(RecipeSection s, OptimizerOptions d)
    {
        var options = d with
        {
            Name = s.Choice("name", d.Name),
            LearningRate = s.Real("lr", d.LearningRate, 0, 1000, aboveMin: true),
            OneDimensionalRate = s.Real("one_dimensional_lr", d.OneDimensionalRate, 0, 1000, aboveMin: true),
            Momentum = s.Real("momentum", d.Momentum, 0, 0.9999),
            SquareMomentum = s.Real("square_momentum", d.SquareMomentum, 0, 0.999999),
            Nesterov = s.Switch("nesterov", d.Nesterov),
            WeightDecay = s.Real("weight_decay", d.WeightDecay, 0, 0.9999),
        };
        var final = s.Real("final_weight_decay", d.FinalWeightDecay ?? options.WeightDecay, 0, 0.9999);
        options = options with
        {
            FinalWeightDecay = final == options.WeightDecay ? null : final,
            ExcludeOneDimensional = s.Switch("exclude_one_dimensional", d.ExcludeOneDimensional),
            TrustCoefficient = s.Real("trust_coefficient", d.TrustCoefficient, 0, 1, aboveMin: true),
            Clip = s.Real("clip", d.Clip, 0, 1e6),
            Warmup = s.Real("warmup", d.Warmup, 0, 0.9),
            WarmupFrom = s.Real("warmup_from", d.WarmupFrom, 0, 1),
            Decay = s.Choice("decay", d.Decay),
        };
        var milestones = s.Range("milestones", d.Milestones.First, d.Milestones.Second, 0, 1);
        return options with { Milestones = milestones, FinalLearningRate = s.Real("final_lr", d.FinalLearningRate, 0, 1) };
    }

    private static (LengthOptions Options, int? Kept) Train(RecipeSection s, (LengthOptions Options, int? Kept) d) =>
        (Train(s, d.Options), s.FormerCount("checkpoints_kept", 1, MostKept));

    private static LengthOptions Train(RecipeSection s, LengthOptions d) => new()
    {
        Batch = s.Count("batch", d.Batch, 2, 1 << 20),
        Epochs = s.Real("epochs", d.Epochs, 0, 1e6, aboveMin: true),
        MaxSteps = s.Whole("max_steps", d.MaxSteps, 0, 1L << 40),
        Budget = s.Span("budget", d.Budget),
        Precision = s.Choice("precision", d.Precision),
        SyncBatchNorm = s.Switch("sync_bn", d.SyncBatchNorm),
        CheckpointEvery = s.Whole("checkpoint_every", d.CheckpointEvery, 0, 1L << 40),
        HashEvery = s.Whole("hash_every", d.HashEvery, 0, 1L << 40),
        BucketBytes = s.Count("bucket_bytes", d.BucketBytes, 1024, 1 << 30),
    };

    private static WatchOptions Watch(RecipeSection s, WatchOptions d) => new()
    {
        Every = s.Whole("every", d.Every, 0, 1L << 40),
        Patience = s.Count("patience", d.Patience, 1, 1000),
        OnCollapse = s.Choice("on_collapse", d.OnCollapse),
    };

    private static CheckpointOptions Checkpoints(RecipeSection s, CheckpointOptions d) => new()
    {
        Store = s.Choice("store", d.Store),
        Container = s.Words("container", d.Container),
        Prefix = s.Words("prefix", d.Prefix),
        Account = s.Words("account", d.Account),
        ConnectionEnv = s.Words("connection_env", d.ConnectionEnv),
        KeepLast = s.Count("keep_last", d.KeepLast, 1, MostKept),
        KeepEvery = s.Whole("keep_every", d.KeepEvery, 0, 1L << 40),
    };

    private static EvaluationOptions Evaluation(RecipeSection s, EvaluationOptions d) => new()
    {
        Knn = s.Section("knn", d.Knn, Knn),
        Bank = s.Count("bank", d.Bank),
        Queries = s.Count("queries", d.Queries),
    };

    private static KnnOptions Knn(RecipeSection s, KnnOptions d) => new()
    {
        K = s.Count("k", d.K, 1, 100_000),
        Temperature = s.Real("temperature", d.Temperature, 0, 10, aboveMin: true),
    };

    private static LocalOptions Local(RecipeSection s, LocalOptions d) => new()
    {
        Trainers = s.Count("trainers", d.Trainers, 1, 4096),
        MinTrainers = s.Count("min_trainers", d.MinTrainers, 1, 4096),
        Threads = s.Count("threads", d.Threads, 0, 1024),
        Time = s.Span("time", d.Time),
    };
}
