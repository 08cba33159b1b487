using DarkMatter.Faults;

return args is ["soak", .. var rest]
    ? await Soak.RunAsync(rest)
    : await Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args);
