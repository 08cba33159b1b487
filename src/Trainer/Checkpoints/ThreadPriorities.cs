using System.Runtime.InteropServices;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>.NET's thread priorities do nothing on Linux; its "nice" values, which are per thread there, do.</summary>
internal static partial class ThreadPriorities
{
    private const int Nice = 10;

    /// <summary>Lets this thread compute only where others leave time; it cannot be undone. Harmless where the system refuses.</summary>
    public static void Lower()
    {
        if (OperatingSystem.IsLinux())
            _ = SetPriority(which: 0, who: 0, Nice); // PRIO_PROCESS, the calling thread
        else
            Thread.CurrentThread.Priority = ThreadPriority.Lowest;
    }

    [LibraryImport("libc", EntryPoint = "setpriority")]
    private static partial int SetPriority(int which, uint who, int priority);
}
