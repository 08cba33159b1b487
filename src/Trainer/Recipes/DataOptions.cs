namespace DarkMatter.Trainer.Recipes;

/// <summary>Section <c>data</c>: what a run reads. Relative paths belong to the recipe's folder.</summary>
public sealed record DataOptions
{
    /// <summary>Key <c>dataset</c>: the folder of packed images to train on. Required.</summary>
    public string Dataset { get; init; } = "";

    /// <summary>Key <c>source</c>: what <see cref="Dataset"/> is packed from when it does not exist yet.</summary>
    public SourceOptions Source { get; init; } = new();

    /// <summary>Key <c>evaluation</c>: the folder of packed, labelled images that <c>evaluate</c> asks about; empty turns evaluation off.</summary>
    public string Evaluation { get; init; } = "";

    /// <summary>Key <c>evaluation_source</c>: what <see cref="Evaluation"/> is packed from when it does not exist yet.</summary>
    public SourceOptions EvaluationSource { get; init; } = new();

    /// <summary>Key <c>lanes</c>: V, fixed streams of samples; as many trainers at most. Divides the batch. Range 1 to 4096, default 16.</summary>
    public int Lanes { get; init; } = 16;

    /// <summary>Key <c>block</c>: samples of a lane that are shuffled among themselves. Range 1 to 2^24, default 8192.</summary>
    public int Block { get; init; } = 8192;

    /// <summary>Key <c>mean</c>: what is subtracted from each channel scaled to 0..1. Default: ImageNet's.</summary>
    public IReadOnlyList<double> Mean { get; init; } = [0.485, 0.456, 0.406];

    /// <summary>Key <c>std</c>: what each channel is then divided by, above 0. Default: ImageNet's.</summary>
    public IReadOnlyList<double> Std { get; init; } = [0.229, 0.224, 0.225];

    /// <summary>Key <c>prefetch</c>: batches made ahead, per trainer. Range 1 to 64, default 2.</summary>
    public int Prefetch { get; init; } = 2;

    /// <summary>Key <c>workers</c>: threads that decode and augment, per trainer. Range 1 to 256, default 1.</summary>
    public int Workers { get; init; } = 1;
}

/// <summary>Where a dataset comes from: exactly one of <see cref="Idx"/>, <see cref="Folder"/>, <see cref="Tars"/>, or none.</summary>
public sealed record SourceOptions
{
    /// <summary>Key <c>idx</c>: a file of images in the IDX format, plain or gzipped.</summary>
    public string Idx { get; init; } = "";

    /// <summary>Key <c>idx_labels</c>: the labels that belong to <see cref="Idx"/>; without them the dataset has none.</summary>
    public string IdxLabels { get; init; } = "";

    /// <summary>Key <c>folder</c>: a folder of JPEG, PNG and WebP files.</summary>
    public string Folder { get; init; } = "";

    /// <summary>Key <c>labels_from_folders</c>: the first folder level names the class. Default false.</summary>
    public bool LabelsFromFolders { get; init; }

    /// <summary>Key <c>tars</c>: WebDataset tars: a folder of them, or a pattern such as <c>images/*.tar</c>.</summary>
    public string Tars { get; init; } = "";

    /// <summary>
    /// Key <c>images</c>: at most so many images of it, a random choice that is the same every time; 0, the default, for all. Not with
    /// <see cref="Tars"/>, which are indexed where they are.
    /// </summary>
    public long Images { get; init; }

    /// <summary>Whether a source is given at all.</summary>
    public bool IsGiven => Idx.Length + Folder.Length + Tars.Length > 0;
}
