using Orleans;

namespace DarkMatter.Grains;

/// <summary>How patient a roster is.</summary>
[GenerateSerializer, Alias("darkmatter.RosterOptions")]
public sealed record RosterOptions
{
    /// <summary>Silence after which a trainer counts as lost while it trains. Default 2 s; at least 200 ms.</summary>
    [Id(0)]
    public TimeSpan FailureTimeout { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long a run waits for all its trainers to join. Default 2 min.</summary>
    [Id(1)]
    public TimeSpan JoinTimeout { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>
    /// How long an accused trainer may still prove that it is the one at fault, by a broken stream or its own word, before both
    /// sides are named. Default 1 s.
    /// </summary>
    [Id(2)]
    public TimeSpan AccusationGrace { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>How long trainers may take to stop in good order. Default 1 min.</summary>
    [Id(3)]
    public TimeSpan StopTimeout { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>Names what is wrong; empty when nothing is.</summary>
    public IReadOnlyList<string> Problems()
    {
        var problems = new List<string>();
        Check(nameof(FailureTimeout), FailureTimeout, TimeSpan.FromMilliseconds(200));
        Check(nameof(JoinTimeout), JoinTimeout, TimeSpan.FromSeconds(1));
        Check(nameof(AccusationGrace), AccusationGrace, TimeSpan.Zero);
        Check(nameof(StopTimeout), StopTimeout, TimeSpan.FromSeconds(1));
        return problems;

        void Check(string name, TimeSpan value, TimeSpan least)
        {
            if (value < least)
            {
                problems.Add($"{name} is {value}, but must be at least {least}");
            }
        }
    }
}
