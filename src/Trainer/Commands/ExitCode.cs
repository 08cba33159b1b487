namespace DarkMatter.Trainer.Commands;

/// <summary>What a <c>darkmatter</c> process ends with. Scripts and supervisors rely on the numbers.</summary>
public static class ExitCode
{
    /// <summary>Done.</summary>
    public const int Done = 0;

    /// <summary>Something nobody foresaw: a defect, or the machine. The message and the log say more.</summary>
    public const int Failed = 1;

    /// <summary>The request cannot be carried out as given: command line, recipe, dataset, port or run name.</summary>
    public const int BadRequest = 2;

    /// <summary>A trainer was lost, and the run stopped at its last committed step.</summary>
    public const int LostTrainer = 3;

    /// <summary>The silo was lost, and the run stopped at its last committed step.</summary>
    public const int LostSilo = 4;

    /// <summary>Stopped on request (Ctrl-C, SIGTERM) with a checkpoint.</summary>
    public const int Stopped = 5;

    /// <summary>This trainer was asked to end (SIGTERM) and has left its place to the others, which go on.</summary>
    public const int Drained = 6;

    /// <summary>
    /// A process's end in words: <c>was killed by SIGKILL</c> or <c>ended with exit code 1</c>. .NET reports a signal n as 128 + n.
    /// </summary>
    public static string Describe(int code) => code switch
    {
        Done => "ended",
        > 128 and <= 128 + 64 => "was killed by " + SignalName(code - 128),
        _ => $"ended with exit code {code}",
    };

    private static string SignalName(int signal) => signal switch
    {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => $"signal {signal}",
    };
}
