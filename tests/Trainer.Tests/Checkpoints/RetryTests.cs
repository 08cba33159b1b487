using DarkMatter.Trainer.Checkpoints;

namespace DarkMatter.Trainer.Tests.Checkpoints;

public sealed class RetryTests
{
    private readonly InstantTime _time = new();
    private int _attempts;

    [Theory]
    [InlineData(1, 0, 0.1)]
    [InlineData(1, 1, 0.2)]
    [InlineData(2, 1, 0.4)]
    [InlineData(5, 0, 1.6)]
    [InlineData(5, 0.5, 2.4)]
    [InlineData(100, 1, 10)]
    [InlineData(100, 0, 5)]
    public void Pause_Doubles_UpToTheLongest_HalfOfItAtRandom(int failures, double random, double seconds) =>
        new RetryOptions().Pause(failures, random).TotalSeconds.ShouldBe(seconds, 1e-9);

    [Fact]
    public async Task Run_SucceedsAtLast_AfterLongerAndLongerPauses()
    {
        var result = await Run(new RetryOptions(), () => ++_attempts < 5 ? throw new IOException("away") : _attempts);
        result.ShouldBe(5);
        _time.Pauses.Count.ShouldBe(4);
        for (var i = 0; i < 4; i++)
            _time.Pauses[i].TotalSeconds.ShouldBeInRange(0.1 * Math.Pow(2, i), 0.2 * Math.Pow(2, i));
    }

    [Fact]
    public async Task Run_NeverSucceeds_ThrowsTheLastFailureInTime()
    {
        (await Should.ThrowAsync<IOException>(() => Run(new RetryOptions { Within = TimeSpan.FromSeconds(60) }, () => throw new IOException($"away {++_attempts}"))))
            .Message.ShouldBe($"away {_attempts}");
        _time.Pauses.Sum(p => p.TotalSeconds).ShouldBeInRange(50, 60);
        _attempts.ShouldBeGreaterThan(8);
    }

    [Fact]
    public async Task Run_AFailureForGood_IsNotRepeated()
    {
        await Should.ThrowAsync<InvalidDataException>(() => Run(new RetryOptions(), () =>
        {
            _attempts++;
            throw new InvalidDataException();
        }));
        _attempts.ShouldBe(1);
    }

    [Fact]
    public async Task Run_Cancelled_EndsAtOnce()
    {
        using var source = new CancellationTokenSource();
        await Should.ThrowAsync<IOException>(() => Run(new RetryOptions(), () =>
        {
            _attempts++;
            source.Cancel();
            throw new IOException("away");
        }, source.Token));
        _attempts.ShouldBe(1);
    }

    private Task<int> Run(RetryOptions options, Func<int> work, CancellationToken cancellationToken = default) =>
        new Retry(options, _time).RunAsync(() => Task.FromResult(work()), e => e is IOException, cancellationToken);

    /// <summary>A clock that jumps to the end of every wait.</summary>
    private sealed class InstantTime : TimeProvider
    {
        private long _now;

        public List<TimeSpan> Pauses { get; } = [];

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Volatile.Read(ref _now);

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            Pauses.Add(dueTime);
            Interlocked.Add(ref _now, dueTime.Ticks);
            return System.CreateTimer(callback, state, TimeSpan.Zero, period);
        }
    }
}
