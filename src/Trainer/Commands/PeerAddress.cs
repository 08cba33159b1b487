namespace DarkMatter.Trainer.Commands;

/// <summary>An address for other trainers, as <c>--advertise</c> has it.</summary>
internal static class PeerAddress
{
    /// <summary>Reads <c>HOST:PORT</c>; an IPv6 address stands in brackets.</summary>
    /// <exception cref="CommandException">It is something else.</exception>
    public static Uri Parse(string text) =>
        Uri.TryCreate("http://" + text, UriKind.Absolute, out var address) && text.EndsWith($":{address.Port}", StringComparison.Ordinal) && address.PathAndQuery == "/" && address.UserInfo.Length == 0
            ? address
            : throw new CommandException(ExitCode.BadRequest, $"--advertise is '{text}', but it is a host and a port, as in trainer-0.example:7500");
}
