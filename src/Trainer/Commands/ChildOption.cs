using System.CommandLine;

namespace DarkMatter.Trainer.Commands;

/// <summary>The hidden option that ties a process to the <c>pretrain</c> that started it.</summary>
internal static class ChildOption
{
    /// <summary>A new option of that kind.</summary>
    public static Option<string?> Create() => new("--child-of") { Description = "The run folder of the pretrain that started this process.", HelpName = "DIR", Hidden = true };
}
