using DarkMatter.Faults;

return args switch
{
    ["soak", .. var rest] => await Soak.RunAsync(rest),
    ["disturbed"] => await Disturbed.RunAsync(),
    _ => await Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args),
};
