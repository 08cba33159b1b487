using System.Globalization;

namespace DarkMatter.Trainer.Tests.Banks;

/// <summary>This process's memory as the kernel counts it.</summary>
internal static class ResidentMemory
{
    /// <summary>Resident now, in bytes.</summary>
    public static long Bytes() => Of("VmRSS:");

    /// <summary>The most that was ever resident, in bytes.</summary>
    public static long Peak() => Of("VmHWM:");

    private static long Of(string key) =>
        long.Parse(File.ReadLines("/proc/self/status").Single(line => line.StartsWith(key, StringComparison.Ordinal))[key.Length..].Replace("kB", "", StringComparison.Ordinal).Trim(), CultureInfo.InvariantCulture) * 1024;
}
