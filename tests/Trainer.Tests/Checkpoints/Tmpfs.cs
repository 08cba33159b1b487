using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace DarkMatter.Trainer.Tests.Checkpoints;

/// <summary>A small file system in memory, mounted over a folder; a full disk that leaves the others alone.</summary>
public sealed class Tmpfs : IDisposable
{
    private readonly string _folder;

    private Tmpfs(string folder) => _folder = folder;

    /// <summary>Mounts one; null where that is not permitted.</summary>
    public static Tmpfs? TryMount(string folder, long bytes) =>
        Run("mount", "-t", "tmpfs", "-o", Size(bytes), "darkmatter-test", folder) ? new Tmpfs(folder) : null;

    /// <summary>Makes room.</summary>
    public void Grow(long bytes) => Run("mount", "-o", "remount," + Size(bytes), _folder).ShouldBeTrue();

    /// <summary>Takes it away, also from under a process that still has files open there.</summary>
    public void Dispose() => Run("umount", "--lazy", _folder).ShouldBeTrue();

    private static string Size(long bytes) => string.Create(CultureInfo.InvariantCulture, $"size={bytes}");

    private static bool Run(string program, params string[] arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
            process.StandardError.ReadToEnd();
            return process.WaitForExit(TimeSpan.FromSeconds(30)) && process.ExitCode == 0;
        }
        catch (Win32Exception)
        {
            return false;
        }
    }
}
