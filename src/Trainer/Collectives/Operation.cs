using System.Buffers;
using System.Diagnostics;

namespace DarkMatter.Trainer.Collectives;

/// <summary>
/// One collective call of one rank: it sends its frames and takes those of its peers. Its memory is touched only under
/// <see cref="Gate"/> and only while it is open.
/// </summary>
internal abstract class Operation(FrameKind kind, long sequence, long totalBytes, string name)
{
    private readonly long _started = Stopwatch.GetTimestamp();
    private TaskCompletionSource? _ended;
    private CollectiveAbortedException? _fault;
    private bool _complete;
    private int _frames;

    public object Gate { get; } = new();

    public FrameKind Kind { get; } = kind;

    public long Sequence { get; } = sequence;

    public long TotalBytes { get; } = totalBytes;

    /// <summary>The call, for messages to people.</summary>
    public string Name { get; } = name;

    /// <summary>Since the call began.</summary>
    public TimeSpan Age => Stopwatch.GetElapsedTime(_started);

    /// <summary>Called once when the operation has ended in either way.</summary>
    public Action<Operation>? Ended { get; set; }

    /// <summary>A rank whose frames are missing; null when none are.</summary>
    public abstract int? MissingRank { get; }

    /// <summary>Whether frames of this rank are missing.</summary>
    public abstract bool Needs(int peer);

    /// <summary>Ends an operation that has nothing to send or receive.</summary>
    public void Begin()
    {
        lock (Gate)
        {
            CompleteIfDone();
        }
    }

    /// <summary>A task that ends with the operation.</summary>
    public Task AsTask()
    {
        lock (Gate)
        {
            _ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Announce();
            return _ended.Task;
        }
    }

    /// <summary>Blocks until the operation has ended; false where the time is up before.</summary>
    /// <exception cref="CollectiveAbortedException">It was aborted.</exception>
    public bool Wait(TimeSpan timeout)
    {
        lock (Gate)
        {
            var started = Stopwatch.GetTimestamp();
            while (!_complete && _fault is null)
            {
                var left = timeout - Stopwatch.GetElapsedTime(started);
                if (left <= TimeSpan.Zero)
                {
                    return false;
                }

                Monitor.Wait(Gate, left); // Whether in time or not: the loop looks at how it ended.
            }

            return _fault is null ? true : throw new CollectiveAbortedException(_fault.Message, _fault.FailedRank, _fault.InnerException);
        }
    }

    /// <summary>Sends this rank's frames.</summary>
    public abstract Task SendAsync(Traffic traffic, CancellationToken cancellationToken);

    /// <summary>Takes a frame of a peer.</summary>
    public void Receive(int peer, in FrameHeader header, in ReadOnlySequence<byte> payload)
    {
        lock (Gate)
        {
            if (_fault is not null)
            {
                return;
            }

            if (header.Kind != Kind || header.Total != TotalBytes)
            {
                throw new InvalidDataException(
                    $"it is of {header.Kind} over {header.Total} bytes where this rank is in {Kind} over {TotalBytes}: every rank must make the same calls in the same order.");
            }

            Take(peer, header, payload);
            CompleteIfDone();
        }
    }

    /// <summary>A frame has left this operation's memory.</summary>
    public void Wrote()
    {
        lock (Gate)
        {
            _frames++;
            CompleteIfDone();
        }
    }

    /// <summary>Ends the operation without a result; its memory is not touched any more.</summary>
    public void Close(CollectiveAbortedException fault)
    {
        lock (Gate)
        {
            if (!_complete && _fault is null)
            {
                _fault = fault;
                Announce();
            }
        }
    }

    public void ThrowIfClosed()
    {
        if (_fault is not null)
        {
            throw new OperationCanceledException($"{Name} was aborted.");
        }
    }

    /// <summary>So many frames this operation sends in all.</summary>
    protected abstract int FramesToSend { get; }

    /// <summary>Whether every frame of the peers was taken.</summary>
    protected abstract bool HasReceivedAll { get; }

    /// <summary>Takes a frame that was checked for its kind and total.</summary>
    protected abstract void Take(int peer, in FrameHeader header, in ReadOnlySequence<byte> payload);

    /// <summary>Makes the result, once all is received and sent.</summary>
    protected virtual void Finish()
    {
    }

    private void CompleteIfDone()
    {
        if (!_complete && _fault is null && _frames == FramesToSend && HasReceivedAll)
        {
            Finish();
            _complete = true;
            Announce();
        }
    }

    private void Announce()
    {
        if (!_complete && _fault is null)
        {
            return;
        }

        Ended?.Invoke(this);
        Monitor.PulseAll(Gate);
        if (_fault is { } fault)
        {
            _ended?.TrySetException(new CollectiveAbortedException(fault.Message, fault.FailedRank, fault.InnerException));
        }
        else
        {
            _ended?.TrySetResult();
        }
    }
}
