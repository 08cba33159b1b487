using System.Globalization;

namespace DarkMatter.Bank.Bench;

/// <summary>Times of one side's steps, and the bytes that passed the loopback device meanwhile.</summary>
internal sealed class Times
{
    public const int Dimensions = 128, Queue = 65_536, Rounds = 5;

    private readonly List<double> _milliseconds = [];
    private double _leastBytes = double.PositiveInfinity;

    public double Median => At(50);

    public void Add(TimeSpan elapsed) => _milliseconds.Add(elapsed.TotalMilliseconds);

    /// <summary>Others may talk too: the round with the least counts.</summary>
    public void Passed(double bytesPerStep) => _leastBytes = Math.Min(_leastBytes, bytesPerStep);

    public string Line(string name, long minimum) => string.Create(CultureInfo.InvariantCulture,
        $"  {name,-44} p50 {At(50),8:0.000} ms  p99 {At(99),8:0.000} ms  wire {_leastBytes / 1024,8:0.0} KiB/step, minimum {minimum / 1024.0,7:0.0} ({_leastBytes / minimum:0.00}x)");

    /// <summary>Bytes that the loopback device has carried.</summary>
    public static long Loopback() => long.Parse(
        File.ReadLines("/proc/net/dev").Single(line => line.TrimStart().StartsWith("lo:", StringComparison.Ordinal)).Split(':')[1].Split(' ', StringSplitOptions.RemoveEmptyEntries)[0],
        CultureInfo.InvariantCulture);

    private double At(int percent) => _milliseconds.Order().ElementAt(_milliseconds.Count * percent / 100);
}
