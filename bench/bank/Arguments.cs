using System.Globalization;

namespace DarkMatter.Bank.Bench;

/// <summary>What to measure, and for how long.</summary>
internal sealed record Arguments
{
    /// <summary>B. Default: the two that the table has.</summary>
    public IReadOnlyList<int> Batches { get; private init; } = [256, 4096];

    /// <summary><c>--seconds</c>: how long each line of the queue's tables is measured. Default 10 s.</summary>
    public TimeSpan Each { get; private init; } = TimeSpan.FromSeconds(10);

    /// <summary><c>--images</c>: rows of the image memory. Default ImageNet's 1.3 M.</summary>
    public int Images { get; private init; } = 1_300_000;

    /// <summary><c>--output</c>: the page to write; null (default): none.</summary>
    public string? Output { get; private init; }

    public static Arguments Parse(string[] args)
    {
        var (parsed, batches) = (new Arguments(), new List<int>());
        for (var i = 0; i < args.Length; i++)
        {
            string Value() => ++i < args.Length ? args[i] : throw new ArgumentException($"{args[i - 1]} needs a value", nameof(args));
            switch (args[i])
            {
                case "--seconds":
                    parsed = parsed with { Each = TimeSpan.FromSeconds(double.Parse(Value(), CultureInfo.InvariantCulture)) };
                    break;
                case "--images":
                    parsed = parsed with { Images = int.Parse(Value(), CultureInfo.InvariantCulture) };
                    break;
                case "--output":
                    parsed = parsed with { Output = Value() };
                    break;
                default:
                    batches.Add(int.Parse(args[i], CultureInfo.InvariantCulture));
                    break;
            }
        }

        return batches.Count > 0 ? parsed with { Batches = batches } : parsed;
    }
}
