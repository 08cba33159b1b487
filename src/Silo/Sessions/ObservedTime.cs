namespace DarkMatter.Silo;

/// <summary>
/// Time that passes only while the silo watches: between two ticks it advances by at most <see cref="MaxStep"/>. When this process or
/// machine was asleep or starved, its trainers are not blamed for what it could not hear.
/// </summary>
internal sealed class ObservedTime(TimeProvider time)
{
    /// <summary>The most that passes between two ticks.</summary>
    public static readonly TimeSpan MaxStep = TimeSpan.FromMilliseconds(500);

    private readonly Lock _gate = new();
    private long _tickedAt = time.GetTimestamp();
    private TimeSpan _atTick;

    /// <summary>Time observed so far.</summary>
    public TimeSpan Now
    {
        get
        {
            lock (_gate)
            {
                return _atTick + SinceTick();
            }
        }
    }

    /// <summary>Says that the silo is awake.</summary>
    public void Tick()
    {
        lock (_gate)
        {
            _atTick += SinceTick();
            _tickedAt = time.GetTimestamp();
        }
    }

    private TimeSpan SinceTick()
    {
        var passed = time.GetElapsedTime(_tickedAt);
        return passed < MaxStep ? passed : MaxStep;
    }
}
