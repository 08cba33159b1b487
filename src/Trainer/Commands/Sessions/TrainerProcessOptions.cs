using System.Diagnostics;

namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>Who a trainer process is and where it finds things.</summary>
public sealed record TrainerProcessOptions
{
    /// <summary>The silo's address.</summary>
    public required Uri Silo { get; init; }

    /// <summary>The run.</summary>
    public required string Run { get; init; }

    /// <summary>This trainer's name, unique in the run.</summary>
    public required string Name { get; init; }

    /// <summary>The run's folder, a full path.</summary>
    public required string RunFolder { get; init; }

    /// <summary>Where peers reach this trainer. Default 127.0.0.1.</summary>
    public string Host { get; init; } = "127.0.0.1";

    /// <summary>The port peers reach it at; 0 for any free one.</summary>
    public int Port { get; init; }

    /// <summary>What peers are told instead of <see cref="Host"/> and <see cref="Port"/>; null: these.</summary>
    public Uri? Advertise { get; init; }

    /// <summary>Threads to compute with; 0 for one per core.</summary>
    public int Threads { get; init; }

    /// <summary>The dataset's folder on this machine; null for where the recipe says.</summary>
    public string? Dataset { get; init; }

    /// <summary>How long training may go on by <see cref="Clock"/>, besides the recipe's budget; null for no limit.</summary>
    public TimeSpan? TrainFor { get; init; }

    /// <summary>Runs since these options were made, when the process began.</summary>
    public Stopwatch Clock { get; } = Stopwatch.StartNew();

    /// <summary>A file that gets the samples' keys of each step; null for none.</summary>
    public string? RecordKeys { get; init; }

    /// <summary>Times of the session.</summary>
    public SessionOptions Session { get; init; } = new();
}
