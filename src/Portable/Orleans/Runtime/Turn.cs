namespace Orleans.Runtime;

/// <summary>One request to an activation: a call or a timer tick. Admission looks only at the two flags.</summary>
internal abstract class Turn
{
    /// <summary>The activation that runs it; set on delivery.</summary>
    public Activation? Target { get; set; }

    /// <summary>May run beside every other turn.</summary>
    public abstract bool Interleaves { get; }

    /// <summary>May run beside other read-only turns.</summary>
    public abstract bool IsReadOnly { get; }

    /// <summary>Whether it counts as use, so that idle collection stays away.</summary>
    public virtual bool IsUse => true;

    /// <summary>Nobody waits for it any more: it is dropped instead of run.</summary>
    public virtual bool IsAbandoned => false;

    /// <summary>Starts the grain's code; the returned task ends with it.</summary>
    protected abstract Task Invoke();

    /// <summary>Tells whoever waits, with the result that the task of <see cref="Invoke"/> holds.</summary>
    protected abstract void Succeed(Task completed);

    /// <summary>Tells whoever waits that it failed, or was never run.</summary>
    public abstract void Fail(Exception exception);

    /// <summary>Another activation takes over, because this one ended before the turn began. False: it ends with the activation.</summary>
    public abstract bool MovesOn { get; }

    /// <summary>Runs on the activation's scheduler and never throws.</summary>
    public void Start()
    {
        var target = Target!;
        if (IsAbandoned)
        {
            target.EndTurn(this);
            return;
        }

        Task task;
        try
        {
            task = Invoke();
        }
#pragma warning disable CA1031 // Whatever the grain's code throws belongs to the caller.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            task = Task.FromException(exception);
        }

        if (task.IsCompleted)
        {
            End(task);
        }
        else
        {
            _ = EndLater(task);
        }
    }

    private async Task EndLater(Task task)
    {
        // The continuation is on the activation's scheduler: results are copied and state is released inside a turn.
        await task.ConfigureAwait(ConfigureAwaitOptions.ContinueOnCapturedContext | ConfigureAwaitOptions.SuppressThrowing);
        End(task);
    }

    private void End(Task task)
    {
        Exception? failure = null;
        if (!task.IsCompletedSuccessfully)
        {
            failure = task.IsCanceled ? new TaskCanceledException(task) : task.Exception!.InnerException!;
        }

        var target = Target!;
        if (failure is not null)
        {
            target.NoteFailure(failure);
        }

        // The answer leaves before the next turn starts, as a message would.
        try
        {
            if (failure is null)
            {
                Succeed(task);
            }
            else
            {
                Fail(failure);
            }
        }
#pragma warning disable CA1031 // A result that cannot be copied is the caller's failure to see.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            Fail(exception);
        }

        target.EndTurn(this);
    }
}
