// All-reduce of this program against torch.distributed's Gloo on this machine, each rank a process, alternating in one run.
//
//   dotnet run --project bench/collectives               the whole table
//   dotnet run --project bench/collectives -- 2 3        these world sizes only
//   dotnet run --project bench/collectives -- stress 60  seconds of random background and blocking sums between two processes, checked
//
// (The program starts itself as `rank R W` for every rank.)
using System.Globalization;
using DarkMatter.Collectives.Bench;

if (args is ["rank", var rank, var world])
{
    return await RankProcess.RunAsync(int.Parse(rank, CultureInfo.InvariantCulture), int.Parse(world, CultureInfo.InvariantCulture));
}

if (args is ["stress", var seconds])
{
    return await Stress.RunAsync(int.Parse(seconds, CultureInfo.InvariantCulture));
}

Hardware.Print(args);
foreach (var size in args.Length > 0 ? args.Select(arg => int.Parse(arg, CultureInfo.InvariantCulture)) : [2, 3, 4])
{
    await Comparison.RunAsync(size);
}

return 0;
