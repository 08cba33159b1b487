using DarkMatter.Simulation;

return args is ["simulate", .. var rest]
    ? Simulate.Run(rest)
    : await Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args);
