using System.Diagnostics.CodeAnalysis;
using DarkMatter.Protocol;

namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>
/// What is still to be sent to the silo, in order. A message leaves it only when it was written, so that a broken stream loses none; the next
/// stream goes on with it.
/// </summary>
[SuppressMessage("Reliability", "CA1001", Justification = "A SemaphoreSlim whose wait handle is never asked for holds nothing to dispose.")]
internal sealed class Outbox
{
    /// <summary>More are never kept: a silo that is away so long is told the newest.</summary>
    private const int Bound = 256;

    private readonly object gate = new();
    private readonly LinkedList<TrainerMessage> messages = new();
    private readonly SemaphoreSlim arrived = new(0);

    /// <summary>Whether nothing waits.</summary>
    public bool IsEmpty
    {
        get
        {
            lock (gate)
            {
                return messages.Count == 0;
            }
        }
    }

    /// <summary>Appends a message; beyond the bound the oldest goes.</summary>
    public void Add(TrainerMessage message)
    {
        lock (gate)
        {
            messages.AddLast(message);
            if (messages.Count > Bound)
            {
                messages.RemoveFirst();
            }
        }
        arrived.Release();
    }

    /// <summary>Waits for the oldest message and leaves it where it is.</summary>
    public async Task<TrainerMessage> PeekAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            lock (gate)
            {
                if (messages.First is { } first)
                {
                    return first.Value;
                }
            }
            await arrived.WaitAsync(cancellationToken);
        }
    }

    /// <summary>Drops what has no meaning on a new stream.</summary>
    public void Keep(Func<TrainerMessage, bool> wanted)
    {
        lock (gate)
        {
            foreach (var message in messages.Where(message => !wanted(message)).ToList())
            {
                messages.Remove(message);
            }
        }
    }

    /// <summary>The message was written.</summary>
    public void Remove(TrainerMessage message)
    {
        lock (gate)
        {
            messages.Remove(message);
        }
    }
}
