using System.Diagnostics;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Storage;

namespace Orleans.Runtime;

/// <summary>
/// One grain in memory: its object, its scheduler, and which turns may run now.
/// A turn is admitted when nothing runs that it must wait for: when all that runs interleaves, when its class or method interleaves,
/// or when everything that does not interleave is read-only as it is.
/// </summary>
[DebuggerDisplay("{GrainId} {_phase}")]
internal sealed class Activation : IGrainContext
{
    [ThreadStatic]
    private static Activation? s_constructing;

    private readonly Lock _gate = new();
    private readonly LinkedList<Turn> _waiting = new();
    private readonly HashSet<GrainTimer> _timers = [];
    private readonly GrainClass _class;
    private readonly ActivationScheduler _scheduler;
    private readonly TaskCompletionSource _gone = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private AsyncServiceScope? _services;
    private Phase _phase = Phase.Created;
    private int _running;
    private int _blocking;
    private int _blockingReadOnly;
    private long _lastUse;
    private DateTimeOffset _keepUntil = DateTimeOffset.MinValue;
    private DeactivationReason _reason;

    public Activation(Silo silo, GrainId id, GrainClass grainClass)
    {
        Silo = silo;
        GrainId = id;
        _class = grainClass;
        _scheduler = new ActivationScheduler(this);
        _lastUse = silo.Time.GetTimestamp();
    }

    private enum Phase
    {
        Created,
        Activating,
        Active,
        Deactivating,
        Gone,
    }

    /// <summary>The activation whose grain constructor runs on this thread.</summary>
    public static Activation? Constructing => s_constructing;

    public Silo Silo { get; }

    public GrainId GrainId { get; }

    public object? GrainInstance { get; private set; }

    public IServiceProvider ActivationServices =>
        (_services ?? throw new InvalidOperationException($"Grain {GrainId} is not active.")).ServiceProvider;

    public Task Deactivated => _gone.Task;

    /// <summary>Takes a turn in. False when the activation is gone and the sender has to find its successor.</summary>
    public bool TryReceive(Turn turn)
    {
        lock (_gate)
        {
            if (_phase == Phase.Gone)
            {
                return false;
            }

            turn.Target = this;
            if (_phase == Phase.Active && MayRun(turn))
            {
                Run(turn);
                return true;
            }

            _waiting.AddLast(turn);
            if (_phase == Phase.Created)
            {
                _phase = Phase.Activating;
                StartOnScheduler(ActivateAsync);
            }
        }

        return true;
    }

    /// <summary>A turn is over: those that waited for it may start.</summary>
    public void EndTurn(Turn turn)
    {
        lock (_gate)
        {
            _running--;
            CountBlocking(turn, -1);

            if (turn.IsUse)
            {
                _lastUse = Silo.Time.GetTimestamp();
            }

            if (_phase == Phase.Active)
            {
                Admit(includingInterleaving: false);
            }
            else if (_phase == Phase.Deactivating && _running == 0)
            {
                StartOnScheduler(EndAsync);
            }
        }
    }

    /// <summary>A grain that lost the race for its state starts over from what is stored.</summary>
    public void NoteFailure(Exception exception)
    {
        if (exception is InconsistentStateException { IsSourceActivation: true } conflict)
        {
            conflict.IsSourceActivation = false;
            Deactivate(new(DeactivationReasonCode.ApplicationError, conflict, "The stored state changed under the activation."));
        }
    }

    public void Deactivate(DeactivationReason deactivationReason, CancellationToken cancellationToken = default)
    {
        lock (_gate)
        {
            if (_phase is Phase.Deactivating or Phase.Gone)
            {
                return;
            }

            bool activating = _phase == Phase.Activating;
            bool unused = _phase == Phase.Created;
            _phase = Phase.Deactivating;
            _reason = deactivationReason;
            if (!activating && _running == 0)
            {
                StartOnScheduler(unused ? VanishAsync : EndAsync);
            }
        }
    }

    public void DelayDeactivation(TimeSpan timeSpan)
    {
        lock (_gate)
        {
            var now = Silo.Time.GetUtcNow();
            _keepUntil = timeSpan <= TimeSpan.Zero ? DateTimeOffset.MinValue
                : timeSpan > DateTimeOffset.MaxValue - now ? DateTimeOffset.MaxValue
                : now + timeSpan;
        }
    }

    /// <summary>Starts deactivation when nothing has used the activation for <paramref name="age"/>.</summary>
    public void DeactivateIfIdle(TimeSpan age)
    {
        lock (_gate)
        {
            if (_phase != Phase.Active || _running > 0 || _waiting.Count > 0 || Silo.Time.GetUtcNow() < _keepUntil
                || Silo.Time.GetElapsedTime(_lastUse) < age)
            {
                return;
            }

            _phase = Phase.Deactivating;
            _reason = new(DeactivationReasonCode.ActivationIdle, $"Nothing used the activation for {age}.");
            StartOnScheduler(EndAsync);
        }
    }

    public IGrainTimer AddTimer(Func<CancellationToken, Task> callback, GrainTimerCreationOptions options)
    {
        var timer = new GrainTimer(this, callback, options, Silo.Time);
        bool late;
        lock (_gate)
        {
            late = _phase == Phase.Gone;
            if (!late)
            {
                _timers.Add(timer);
            }
        }

        if (late)
        {
            timer.Dispose();
        }

        return timer;
    }

    public void Forget(GrainTimer timer)
    {
        lock (_gate)
        {
            _timers.Remove(timer);
        }
    }

    /// <summary>The silo stopped waiting for this activation: what waits for it fails.</summary>
    public void Abandon(Exception exception)
    {
        foreach (var turn in TakeWaiting(Phase.Gone))
        {
            turn.Fail(exception);
        }

        Silo.Remove(this);
        _gone.TrySetResult();
    }

    private bool MayRun(Turn turn) =>
        _blocking == 0 || _class.IsReentrant || turn.Interleaves || (turn.IsReadOnly && _blockingReadOnly == _blocking);

    // Turns that interleave are in nobody's way.
    private void CountBlocking(Turn turn, int change)
    {
        if (!turn.Interleaves)
        {
            _blocking += change;
            _blockingReadOnly += turn.IsReadOnly ? change : 0;
        }
    }

    private void Run(Turn turn)
    {
        _running++;
        CountBlocking(turn, 1);

        if (turn.IsUse)
        {
            _lastUse = Silo.Time.GetTimestamp();
        }

        _scheduler.Queue(turn);
    }

    // In order of arrival; one that may not run yet does not hold back a later one that may. Interleaving turns wait only while the
    // activation starts, so afterwards nothing can pass an exclusive one that runs.
    private void Admit(bool includingInterleaving)
    {
        for (var node = _waiting.First; node is not null;)
        {
            var next = node.Next;
            if (MayRun(node.Value))
            {
                _waiting.Remove(node);
                Run(node.Value);
            }
            else if (!includingInterleaving && _blocking > _blockingReadOnly)
            {
                return;
            }

            node = next;
        }
    }

    private void StartOnScheduler(Func<Task> work) =>
        _ = Task.Factory.StartNew(work, CancellationToken.None, TaskCreationOptions.DenyChildAttach, _scheduler);

    private async Task ActivateAsync()
    {
        try
        {
            var states = new PersistentStates();
            _services = Silo.Services.CreateAsyncScope();
            s_constructing = this;
            try
            {
                GrainInstance = _class.Activator.Create(this, states);
            }
            finally
            {
                s_constructing = null;
            }

            using var timeout = new CancellationTokenSource(Silo.Collection.ActivationTimeout, Silo.Time);
            await WithinDeadline(StartGrain(states, timeout.Token), Silo.Collection.ActivationTimeout, nameof(IGrainBase.OnActivateAsync));
        }
#pragma warning disable CA1031 // The failure belongs to the callers.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            await FailActivationAsync(exception);
            return;
        }

        lock (_gate)
        {
            if (_phase == Phase.Deactivating)
            {
                StartOnScheduler(EndAsync);
                return;
            }

            _phase = Phase.Active;
            _lastUse = Silo.Time.GetTimestamp();
            Admit(includingInterleaving: true);
        }
    }

    private async Task StartGrain(PersistentStates states, CancellationToken cancellation)
    {
        await states.ReadAll();
        await ((IGrainBase)GrainInstance!).OnActivateAsync(cancellation);
    }

    private async Task FailActivationAsync(Exception exception)
    {
        var waiting = TakeWaiting(Phase.Gone);
        Silo.Remove(this);
        await ReleaseAsync();
        foreach (var turn in waiting)
        {
            turn.Fail(exception);
        }

        _gone.TrySetResult();
    }

    private async Task EndAsync()
    {
        StopTimers();
        using var timeout = new CancellationTokenSource(Silo.Collection.DeactivationTimeout, Silo.Time);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, Silo.StopDeadline);
        try
        {
            var work = ((IGrainBase)GrainInstance!).OnDeactivateAsync(_reason, stop.Token);
            await WithinDeadline(work, Silo.Collection.DeactivationTimeout, nameof(IGrainBase.OnDeactivateAsync));
        }
#pragma warning disable CA1031 // Deactivation goes on whatever the grain's code does.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            Silo.ReportDeactivationFailure(GrainId, exception);
        }

        await VanishAsync();
    }

    private async Task VanishAsync()
    {
        await ReleaseAsync();
        var waiting = TakeWaiting(Phase.Gone);
        Silo.Remove(this);
        foreach (var turn in waiting)
        {
            if (turn.MovesOn)
            {
                Silo.Deliver((GrainCall)turn);
            }
        }

        _gone.TrySetResult();
    }

    private async ValueTask ReleaseAsync()
    {
        StopTimers();
        try
        {
            if (GrainInstance is IAsyncDisposable asynchronous)
            {
                await asynchronous.DisposeAsync();
            }
            else if (GrainInstance is IDisposable disposable)
            {
                disposable.Dispose();
            }

            if (_services is { } services)
            {
                await services.DisposeAsync();
            }
        }
#pragma warning disable CA1031 // The grain's own clean-up failed; the activation is gone all the same.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            Silo.ReportDeactivationFailure(GrainId, exception);
        }
    }

    private async Task WithinDeadline(Task work, TimeSpan limit, string what)
    {
        try
        {
            await (work.IsCompleted ? work : work.WaitAsync(limit, Silo.Time));
        }
        catch (TimeoutException) when (!work.IsCompleted)
        {
            throw new TimeoutException($"{what} of grain {GrainId} did not end within {limit}.");
        }
    }

    private Turn[] TakeWaiting(Phase next)
    {
        lock (_gate)
        {
            _phase = next;
            var waiting = _waiting.ToArray();
            _waiting.Clear();
            return waiting;
        }
    }

    private void StopTimers()
    {
        GrainTimer[] timers;
        lock (_gate)
        {
            timers = [.. _timers];
        }

        foreach (var timer in timers)
        {
            timer.Dispose();
        }
    }
}

/// <summary>What is the same for all activations of a grain class.</summary>
internal sealed class GrainClass(Type type)
{
    public GrainActivator Activator { get; } = new(type);

    public bool IsReentrant { get; } = type.IsDefined(typeof(Concurrency.ReentrantAttribute), inherit: true);
}
