namespace Orleans.Runtime;

/// <summary>
/// The calls under way, oldest first, so that a sweep looks only at those that are due.
/// A sweep instead of a timer per call keeps a call cheap; a timeout is therefore up to one sweep late.
/// </summary>
internal sealed class CallList
{
    private readonly Lock _gate = new();
    private readonly TimeProvider _time;
    private GrainCall? _oldest;
    private GrainCall? _newest;
    private int _count;
    private TaskCompletionSource? _emptied;

    public CallList(TimeProvider time) => _time = time;

    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _count;
            }
        }
    }

    public void Add(GrainCall call)
    {
        call.StartedAt = _time.GetTimestamp();
        lock (_gate)
        {
            call.IsTracked = true;
            call.Earlier = _newest;
            if (_newest is null)
            {
                _oldest = call;
            }
            else
            {
                _newest.Later = call;
            }

            _newest = call;
            _count++;
        }
    }

    public void Remove(GrainCall call)
    {
        TaskCompletionSource? emptied = null;
        lock (_gate)
        {
            if (!call.IsTracked)
            {
                return;
            }

            call.IsTracked = false;
            if (call.Earlier is null)
            {
                _oldest = call.Later;
            }
            else
            {
                call.Earlier.Later = call.Later;
            }

            if (call.Later is null)
            {
                _newest = call.Earlier;
            }
            else
            {
                call.Later.Earlier = call.Earlier;
            }

            call.Earlier = call.Later = null;
            if (--_count == 0)
            {
                emptied = _emptied;
                _emptied = null;
            }
        }

        emptied?.TrySetResult();
    }

    /// <summary>Takes out the calls that are older than <paramref name="age"/>.</summary>
    public List<GrainCall> TakeOlderThan(TimeSpan age)
    {
        var due = new List<GrainCall>();
        while (true)
        {
            GrainCall? call;
            lock (_gate)
            {
                call = _oldest;
            }

            if (call is null || _time.GetElapsedTime(call.StartedAt) < age)
            {
                return due;
            }

            due.Add(call);
            Remove(call);
        }
    }

    /// <summary>Completes when no call is under way.</summary>
    public Task WaitUntilEmpty()
    {
        lock (_gate)
        {
            if (_count == 0)
            {
                return Task.CompletedTask;
            }

            _emptied ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _emptied.Task;
        }
    }
}
