using System.Globalization;
using DarkMatter.Bench;

namespace DarkMatter.Bank.Bench;

/// <summary>Times of one side's steps, and the bytes that passed the loopback device meanwhile.</summary>
internal sealed class Times
{
    public const int Dimensions = 128, Queue = 65_536;

    private readonly List<double> _milliseconds = [];
    private double _leastBytes = double.PositiveInfinity;

    public double Median => Machine.Median(_milliseconds);

    public int Count => _milliseconds.Count;

    /// <summary><c>p50 / p99</c>, in milliseconds.</summary>
    public string Spread => string.Create(CultureInfo.InvariantCulture, $"{Median:0.00} / {At(99):0.00}");

    /// <summary>Bytes of a step on the loopback device.</summary>
    public double Bytes => _leastBytes;

    public void Add(TimeSpan elapsed) => _milliseconds.Add(elapsed.TotalMilliseconds);

    /// <summary>Others may talk too: the round with the least counts.</summary>
    public void Passed(double bytesPerStep) => _leastBytes = Math.Min(_leastBytes, bytesPerStep);

    /// <summary>Bytes that the loopback device has carried.</summary>
    public static long Loopback() => long.Parse(
        File.ReadLines("/proc/net/dev").Single(line => line.TrimStart().StartsWith("lo:", StringComparison.Ordinal)).Split(':')[1].Split(' ', StringSplitOptions.RemoveEmptyEntries)[0],
        CultureInfo.InvariantCulture);

    private double At(int percent) => _milliseconds.Order().ElementAt(_milliseconds.Count * percent / 100);
}
