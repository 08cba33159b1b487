namespace DarkMatter.Trainer.Commands.Local;

/// <summary>How to start this program again: as itself, or through the <c>dotnet</c> that runs it.</summary>
internal static class SelfInvocation
{
    /// <summary>The program and the arguments that come before those of <c>darkmatter</c>.</summary>
    public static (string Program, string[] Prefix) Find()
    {
        var assembly = typeof(SelfInvocation).Assembly.Location;
        var host = Path.Combine(AppContext.BaseDirectory, "darkmatter");
        if (File.Exists(host))
        {
            return (host, []);
        }
        return (Environment.ProcessPath ?? "dotnet", assembly.Length > 0 ? [assembly] : []);
    }

    /// <summary>The same as a person would type it, with paths below the working folder made relative.</summary>
    public static string AsTyped()
    {
        var (program, prefix) = Find();
        return string.Join(' ', prefix.Prepend(program).Select(Shorten));
    }

    /// <summary>A path below the working folder as a relative one; any other as it is.</summary>
    public static string Shorten(string path)
    {
        var relative = Path.GetRelativePath(Environment.CurrentDirectory, path);
        return Path.IsPathRooted(path) && !relative.StartsWith("..", StringComparison.Ordinal) ? relative : path;
    }

    /// <summary>An argument as a shell needs it.</summary>
    public static string Quote(string argument) =>
        argument.Length > 0 && argument.All(c => char.IsAsciiLetterOrDigit(c) || "-_./=:,+@%".Contains(c, StringComparison.Ordinal))
            ? argument
            : "'" + argument.Replace("'", "'\\''", StringComparison.Ordinal) + "'";
}
