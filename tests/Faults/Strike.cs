using System.Globalization;

namespace DarkMatter.Faults;

/// <summary>What <c>make soak</c> and <c>make disturbed</c> do to a run.</summary>
internal enum StrikeKind
{
    /// <summary>SIGKILL, and a successor.</summary>
    Kill,

    /// <summary>SIGSTOP for longer than the silo waits, then SIGCONT.</summary>
    Hang,

    /// <summary>SIGTERM, and a successor.</summary>
    Drain,

    /// <summary>The silo is killed and started again.</summary>
    Silo,

    /// <summary>The connections between trainers break.</summary>
    Drop,

    /// <summary>Nothing comes through to one trainer for a while.</summary>
    Cut,
}

/// <summary>One failure of a run.</summary>
/// <param name="Kind">What happens.</param>
/// <param name="Trainer">To whom.</param>
/// <param name="Span">How long what does not last lasts.</param>
internal sealed record Strike(StrikeKind Kind, string Trainer, TimeSpan Span)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Kind switch
    {
        StrikeKind.Kill => $"{Trainer} is killed and started again",
        StrikeKind.Hang => $"{Trainer} hangs for {Span.TotalSeconds:0.0} s",
        StrikeKind.Drain => $"{Trainer} is drained and started again",
        StrikeKind.Silo => "the silo is killed and started again",
        StrikeKind.Drop => "the connections between trainers break",
        _ => $"nothing reaches {Trainer} for {Span.TotalSeconds:0.0} s",
    }}");

    /// <summary>Makes it happen.</summary>
    public async Task HitAsync(Wires wires)
    {
        var (cluster, trainer) = (wires.Cluster, wires.Cluster.Trainers[Trainer]);
        switch (Kind)
        {
            case StrikeKind.Kill or StrikeKind.Drain:
                trainer.Signal(Kind == StrikeKind.Kill ? "KILL" : "TERM");
                await trainer.FinishAsync();
                cluster.StartTrainer(Trainer);
                break;
            case StrikeKind.Hang:
                trainer.Signal("STOP");
                await Task.Delay(Span);
                trainer.Signal("CONT");
                break;
            case StrikeKind.Silo:
                cluster.Silo.Signal("KILL");
                await cluster.Silo.FinishAsync();
                await cluster.StartSiloAsync();
                break;
            case StrikeKind.Drop:
                foreach (var wire in wires.ToTrainers)
                    wire.Drop();
                break;
            default:
                wires.To(Trainer).IsCut = true;
                await Task.Delay(Span);
                wires.To(Trainer).IsCut = false;
                break;
        }
    }
}
