namespace DarkMatter.Trainer.Collectives;

// Waits that follow progress: who works on something long says so, and whoever waits in a call is patient anew.
public sealed partial class GrpcCollective
{
    private static readonly TimeSpan TellEvery = TimeSpan.FromSeconds(1);

    private long _toldAt = -1;
    private long _workedAt = Environment.TickCount64;

    /// <summary>Some rank of the generation made progress with something that others wait for. Raised from any thread, now and then.</summary>
    public event Action? Worked;

    /// <inheritdoc/>
    public void Working()
    {
        var (now, told) = (Environment.TickCount64, Interlocked.Read(ref _toldAt));
        var every = Math.Min(TellEvery.TotalMilliseconds, _options.Timeout.TotalMilliseconds / 4);
        if ((told >= 0 && now - told < every) || Interlocked.CompareExchange(ref _toldAt, now, told) != told || _leaving || _reason is not null)
        {
            return;
        }

        NoteWork();
        _ = TellAsync(FrameKind.Working, Rank, default, _blocking.Links);
    }

    /// <summary>A rank works, as the peer says; around a ring the word is passed on.</summary>
    internal void PeerWorks(int peer, int rank)
    {
        NoteWork();
        var next = (Rank + 1) % World;
        if (!IsDirect && peer == (Rank + World - 1) % World && next != rank)
        {
            _ = TellAsync(FrameKind.Working, rank, default, _blocking.Links.Where(link => link.Peer == next));
        }
    }

    private void NoteWork()
    {
        Interlocked.Exchange(ref _workedAt, Environment.TickCount64);
        Worked?.Invoke();
    }

    /// <summary>How long a call may still wait: from its beginning, or from the last word that somebody works.</summary>
    private TimeSpan PatienceLeft(Operation operation)
    {
        var sinceWork = TimeSpan.FromMilliseconds(Environment.TickCount64 - Interlocked.Read(ref _workedAt));
        return _options.Timeout - (sinceWork < operation.Age ? sinceWork : operation.Age);
    }
}
