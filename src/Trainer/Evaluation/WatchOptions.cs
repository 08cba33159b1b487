namespace DarkMatter.Trainer.Evaluation;

/// <summary>What a run does once its embeddings have collapsed.</summary>
public enum CollapseAction
{
    /// <summary>Say so, and go on.</summary>
    Warn = 0,

    /// <summary>Take a checkpoint and wait, with the state in memory, until a person resumes or stops the run.</summary>
    Pause = 1,

    /// <summary>Take a checkpoint and end.</summary>
    Stop = 2,
}

/// <summary>Section <c>watch</c>: the look at the embeddings while they are trained. It changes nothing of what is computed.</summary>
public sealed record WatchOptions
{
    /// <summary>Key <c>every</c>: updates between two looks; 0 for none. Default 50.</summary>
    public long Every { get; init; } = 50;

    /// <summary>Key <c>patience</c>: so many looks in a row must find a collapse, after the warm-up, before <see cref="OnCollapse"/> acts, and again each time so many more do. Range 1 to 1000, default 3.</summary>
    public int Patience { get; init; } = 3;

    /// <summary>Key <c>on_collapse</c>: <c>warn</c>, <c>pause</c> or <c>stop</c>. Default warn.</summary>
    public CollapseAction OnCollapse { get; init; } = CollapseAction.Warn;
}
