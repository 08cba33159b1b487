using System.Diagnostics;
using DarkMatter.EndToEnd.Tests;

namespace DarkMatter.Faults;

/// <summary>The calendar clock of some processes, which a test sets forward and back while they run (Clock.c, preloaded).</summary>
internal sealed class MovingClock
{
    private readonly string _file;
    private readonly string _library;

    /// <summary>Makes one that is right.</summary>
    public MovingClock(Workshop workshop, string name)
    {
        (_file, _library) = (workshop.In($"clock-{name}"), workshop.In($"clock-{name}.so"));
        Ahead = TimeSpan.Zero;
        using var compiler = Process.Start("cc", ["-O2", "-shared", "-fPIC", "-o", _library, Path.Combine(AppContext.BaseDirectory, "Clock.c")]);
        compiler.WaitForExit(TimeSpan.FromMinutes(1)).ShouldBeTrue();
        compiler.ExitCode.ShouldBe(0);
    }

    /// <summary>What to write before a command that goes by this clock.</summary>
    public string Prefix => $"env TEST_CLOCK={_file} LD_PRELOAD={_library} ";

    /// <summary>How far it is ahead of the time, in whole seconds; below zero it is behind.</summary>
    public TimeSpan Ahead
    {
        set
        {
            // In place: the processes have the file mapped.
            using var file = File.OpenHandle(_file, FileMode.OpenOrCreate, FileAccess.Write, FileShare.ReadWrite);
            RandomAccess.Write(file, BitConverter.GetBytes((long)value.TotalSeconds), 0);
        }
    }
}
