namespace DarkMatter.Collectives.Bench;

/// <summary>The table of one world size: ours and Gloo in turns, the median of all turns, and the ratio.</summary>
internal static class Comparison
{
    private const int Turns = 5;

    public static async Task RunAsync(int world)
    {
        using var ours = await RankGroup.StartOursAsync(world);
        using var gloo = await RankGroup.StartGlooAsync(world);
        foreach (var (bytes, repeats) in new[] { (512, 400), (8 * 1024, 400), (64 * 1024, 200), (3_000_000, 20), (100_000_000, 2) })
        {
            var (a, b) = (new List<double>(), new List<double>());

            // One turn each to warm up.
            await ours.SumAsync(bytes, repeats);
            await gloo.SumAsync(bytes, repeats);
            for (var turn = 0; turn < Turns; turn++)
            {
                a.AddRange(await ours.SumAsync(bytes, repeats));
                b.AddRange(await gloo.SumAsync(bytes, repeats));
            }

            a.Sort();
            b.Sort();
            var (mine, theirs) = (a[a.Count / 2], b[b.Count / 2]);
            Console.WriteLine(
                $"world {world}  {bytes,11:N0} bytes   ours p50 {Micros(mine)} p99 {Micros(P99(a))} us   gloo p50 {Micros(theirs)} p99 {Micros(P99(b))} us   " +
                $"ours {bytes / mine / 1e6,7:F0} MB/s   RATIO {theirs / mine:F2}");
        }
    }

    private static double P99(List<double> sorted) => sorted[sorted.Count * 99 / 100];

    private static string Micros(double seconds) => $"{seconds * 1e6,9:F0}";
}
