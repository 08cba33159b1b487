namespace DarkMatter.Trainer.Commands.Local;

/// <summary>What was asked of <c>darkmatter pretrain</c>, besides the recipe.</summary>
public sealed record PretrainRequest
{
    /// <summary>The recipe file as it was typed.</summary>
    public required string RecipePath { get; init; }

    /// <summary>The run's name.</summary>
    public required string Run { get; init; }

    /// <summary>The run's folder, a full path.</summary>
    public required string Output { get; init; }

    /// <summary>Trainer processes.</summary>
    public required int Trainers { get; init; }

    /// <summary>Changes to the recipe, as typed.</summary>
    public IReadOnlyList<string> Sets { get; init; } = [];

    /// <summary>Go on with the run in the folder.</summary>
    public bool Resume { get; init; }

    /// <summary>Delete the run in the folder and start over.</summary>
    public bool Overwrite { get; init; }

    /// <summary>Time for everything: packing, start-up, training, evaluation. Null: what the recipe says.</summary>
    public TimeSpan? Time { get; init; }

    /// <summary>The silo's port; 0 for any free one.</summary>
    public int Port { get; init; }

    /// <summary>Whether the features are judged after training.</summary>
    public bool Evaluate { get; init; } = true;

    /// <summary>A folder that gets the samples' keys of every step, one file per trainer; null for none.</summary>
    public string? RecordKeys { get; init; }

    /// <summary>The command that goes on with this run, as a person would type it.</summary>
    public string ResumeCommand()
    {
        List<string> words = ["pretrain", "--recipe", SelfInvocation.Shorten(RecipePath), "--run", Run, "--output", SelfInvocation.Shorten(Output)];
        foreach (var set in Sets)
        {
            words.AddRange(["--set", set]);
        }
        words.AddRange(["--trainers", Trainers.ToString(System.Globalization.CultureInfo.InvariantCulture), "--resume"]);
        return SelfInvocation.AsTyped() + " " + string.Join(' ', words.Select(SelfInvocation.Quote));
    }
}
