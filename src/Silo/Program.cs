using DarkMatter.Silo;

if (args.Contains("--help", StringComparer.Ordinal))
{
    Console.WriteLine(SiloArguments.Help);
    return 0;
}

var (options, problems) = SiloArguments.Parse(args);
if (problems.Count > 0)
{
    foreach (string problem in problems)
    {
        await Console.Error.WriteLineAsync($"darkmatter-silo: {problem}");
    }

    return 2;
}

try
{
    await SiloHost.RunAsync(options, CancellationToken.None);
    return 0;
}
catch (SiloStartException exception)
{
    await Console.Error.WriteLineAsync($"darkmatter-silo: {exception.Message}");
    return 2;
}
