namespace DarkMatter.Trainer.Commands;

/// <summary>A silo's address from the command line.</summary>
internal static class SiloAddress
{
    /// <summary>Reads <c>http://host:port</c>.</summary>
    /// <exception cref="CommandException">It is not one.</exception>
    public static Uri Parse(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https" && uri.Host.Length > 0
            ? uri
            : throw new CommandException(ExitCode.BadRequest, $"--silo is '{text}', but an address looks like http://127.0.0.1:7400");
}
