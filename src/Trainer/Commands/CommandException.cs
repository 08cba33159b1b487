namespace DarkMatter.Trainer.Commands;

/// <summary>Ends a command with a message for its user, who needs no stack trace to act on it.</summary>
/// <param name="exitCode">One of <see cref="ExitCode"/>.</param>
/// <param name="message">What is wrong, where, and what to do.</param>
/// <param name="inner">The cause, if another exception is it.</param>
public sealed class CommandException(int exitCode, string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>What the process ends with.</summary>
    public int ExitCode { get; } = exitCode;
}
