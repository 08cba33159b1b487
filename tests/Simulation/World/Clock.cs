namespace DarkMatter.Simulation;

/// <summary>Simulated time and everything that is still to happen, in order; of two things at one moment the one that was planned first.</summary>
internal sealed class Clock : TimeProvider
{
    private static readonly DateTimeOffset Began = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly PriorityQueue<Action, (long At, long Order)> _events = new();
    private long _now;
    private long _order;

    /// <summary>Since the world began; nobody can make it jump.</summary>
    public TimeSpan Now => new(_now);

    /// <summary>How far the clock on the wall is off.</summary>
    public TimeSpan WallOffset { get; set; }

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => _now;

    public override DateTimeOffset GetUtcNow() => Began + Now + WallOffset;

    /// <summary>Plans something.</summary>
    public void After(TimeSpan delay, Action action) => _events.Enqueue(action, (_now + Math.Max(0, delay.Ticks), _order++));

    /// <summary>Lets the next thing happen; false when nothing is planned.</summary>
    public bool Next()
    {
        if (!_events.TryDequeue(out var action, out var when))
            return false;
        _now = when.At;
        action();
        return true;
    }
}
