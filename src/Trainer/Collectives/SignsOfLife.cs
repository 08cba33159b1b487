namespace DarkMatter.Trainer.Collectives;

/// <summary>
/// Tells the other ranks that this one works, for as long as it does something with limits of its own: until disposed, and while the last
/// progress is not longer ago than that something may take for one. Who hangs falls silent, and the others' deadlines pass.
/// </summary>
public sealed class SignsOfLife : IDisposable
{
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(1);

    private readonly Timer _timer;
    private long _progressed = Environment.TickCount64;

    /// <summary>Begins to tell.</summary>
    /// <param name="working">How: <see cref="ICollective.Working"/>.</param>
    /// <param name="patience">The longest time without progress.</param>
    public SignsOfLife(Action working, TimeSpan patience) => _timer = new Timer(
        _ =>
        {
            if (Environment.TickCount64 - Interlocked.Read(ref _progressed) < patience.TotalMilliseconds)
                working();
        },
        null, Every, Every);

    /// <summary>It went on.</summary>
    public void Progressed() => Interlocked.Exchange(ref _progressed, Environment.TickCount64);

    /// <summary>It is done.</summary>
    public void Dispose() => _timer.Dispose();
}
