using Orleans;

namespace DarkMatter.Grains;

/// <summary>How patient a roster is.</summary>
[GenerateSerializer, Alias("darkmatter.RosterOptions")]
public sealed record RosterOptions
{
    /// <summary>Silence after which a trainer counts as lost. Default 2 s; at least 200 ms.</summary>
    [Id(0)]
    public TimeSpan FailureTimeout { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long a run waits for all wanted trainers before it begins with fewer. Default 2 min; at least 1 s.</summary>
    [Id(1)]
    public TimeSpan JoinTimeout { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>
    /// How long an accused trainer may still show, by a broken stream or its own word, who is at fault. Default 300 ms.
    /// </summary>
    [Id(2)]
    public TimeSpan AccusationGrace { get; init; } = TimeSpan.FromMilliseconds(300);

    /// <summary>
    /// How long trainers that show signs of life may take to stop in good order. A last checkpoint may first wait for the one before, and each may take
    /// 10 minutes to write. Default 25 min; at least 1 s.
    /// </summary>
    [Id(3)]
    public TimeSpan StopTimeout { get; init; } = TimeSpan.FromMinutes(25);

    /// <summary>Newcomers wait this long for more of them, so that ten that come together make one generation. Default 300 ms.</summary>
    [Id(4)]
    public TimeSpan SettleTime { get; init; } = TimeSpan.FromMilliseconds(300);

    /// <summary>How long a trainer that the others cannot reach has no place, at first; it doubles each time. Default 10 s; at least 1 s.</summary>
    [Id(5)]
    public TimeSpan BenchTime { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>The longest such time. Default 5 min; at least <see cref="BenchTime"/>.</summary>
    [Id(6)]
    public TimeSpan LongestBenchTime { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How long trainers have to come back after a restart of the silo before they count as lost. Default 10 s; at least 1 s.</summary>
    [Id(7)]
    public TimeSpan ReturnTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Restarts with the same trainers before one of them is benched, without a committed step between. Default 3; at least 0.</summary>
    [Id(8)]
    public int SameTrainersAgain { get; init; } = 3;

    /// <summary>Broken generations in a row without a committed step after which the run fails. Default 10; at least 1.</summary>
    [Id(9)]
    public int FruitlessGenerations { get; init; } = 10;

    /// <summary>
    /// How long a generation may take to begin, to connect, agree, and copy the state, without a sign of progress. Default 10 min; at least 10 s. It is
    /// the last resort against a trainer that hangs and still beats.
    /// </summary>
    [Id(10)]
    public TimeSpan BeginTimeout { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>
    /// The pause before the next generation once <see cref="FreeAttempts"/> in a row broke without a committed step; it doubles with each. What is
    /// away, as a blob store or a switch, may come back meanwhile. Default 2 s; at least 0.
    /// </summary>
    [Id(11)]
    public TimeSpan FruitlessPause { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>The longest such pause. Default 1 min; at least <see cref="FruitlessPause"/>.</summary>
    [Id(12)]
    public TimeSpan LongestFruitlessPause { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>Generations in a row that may break without a committed step before there are pauses: trainers may be lost one after the other.</summary>
    public const int FreeAttempts = 3;

    /// <summary>The pause after so many broken generations in a row without a committed step.</summary>
    public TimeSpan PauseAfter(int fruitless) => fruitless <= FreeAttempts
        ? TimeSpan.Zero
        : TimeSpan.FromSeconds(Math.Min(LongestFruitlessPause.TotalSeconds, FruitlessPause.TotalSeconds * Math.Pow(2, fruitless - FreeAttempts - 1)));

    /// <summary>Names what is wrong; empty when nothing is.</summary>
    public IReadOnlyList<string> Problems()
    {
        var problems = new List<string>();
        Check(nameof(FailureTimeout), FailureTimeout, TimeSpan.FromMilliseconds(200));
        Check(nameof(JoinTimeout), JoinTimeout, TimeSpan.FromSeconds(1));
        Check(nameof(AccusationGrace), AccusationGrace, TimeSpan.Zero);
        Check(nameof(StopTimeout), StopTimeout, TimeSpan.FromSeconds(1));
        Check(nameof(SettleTime), SettleTime, TimeSpan.Zero);
        Check(nameof(BenchTime), BenchTime, TimeSpan.FromSeconds(1));
        Check(nameof(LongestBenchTime), LongestBenchTime, BenchTime);
        Check(nameof(ReturnTimeout), ReturnTimeout, TimeSpan.FromSeconds(1));
        Check(nameof(BeginTimeout), BeginTimeout, TimeSpan.FromSeconds(10));
        Check(nameof(SameTrainersAgain), SameTrainersAgain, 0);
        Check(nameof(FruitlessGenerations), FruitlessGenerations, 1);
        Check(nameof(FruitlessPause), FruitlessPause, TimeSpan.Zero);
        Check(nameof(LongestFruitlessPause), LongestFruitlessPause, FruitlessPause);
        return problems;

        void Check<T>(string name, T value, T least) where T : IComparable<T>
        {
            if (value.CompareTo(least) < 0)
            {
                problems.Add($"{name} is {value}, but must be at least {least}");
            }
        }
    }
}
