namespace Orleans.Runtime;

/// <summary>A grain timer: its ticks are turns, and the next is due one period after the last one ended.</summary>
internal sealed class GrainTimer : IGrainTimer
{
    private readonly Activation _activation;
    private readonly Func<CancellationToken, Task> _callback;
    private readonly GrainTimerCreationOptions _options;
    private readonly CancellationTokenSource _stopped = new();
    private readonly ITimer _timer;
    private readonly Lock _gate = new();
    private TimeSpan _period;
    private bool _ticking;
    private bool _changed;
    private TimeSpan _changedDue;
    private bool _disposed;

    public GrainTimer(Activation activation, Func<CancellationToken, Task> callback, GrainTimerCreationOptions options, TimeProvider time)
    {
        _activation = activation;
        _callback = callback;
        _options = options;
        _period = options.Period;
        _timer = time.CreateTimer(static state => ((GrainTimer)state!).OnDue(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _timer.Change(options.DueTime, Timeout.InfiniteTimeSpan);
    }

    public void Change(TimeSpan dueTime, TimeSpan period)
    {
        lock (_gate)
        {
            if (_disposed)
            {
                return;
            }

            _period = period;
            if (_ticking)
            {
                // The running tick ends first; then the new due time counts.
                _changed = true;
                _changedDue = dueTime;
            }
            else
            {
                _timer.Change(dueTime, Timeout.InfiniteTimeSpan);
            }
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            if (_disposed)
            {
                return;
            }

            _disposed = true;
        }

        _timer.Dispose();
        _stopped.Cancel();
        _activation.Forget(this);
    }

    private void OnDue()
    {
        lock (_gate)
        {
            if (_disposed || _ticking)
            {
                return;
            }

            _ticking = true;
        }

        _activation.TryReceive(new Tick(this));
    }

    private void Ended()
    {
        lock (_gate)
        {
            _ticking = false;
            if (_disposed)
            {
                return;
            }

            _timer.Change(_changed ? _changedDue : _period, Timeout.InfiniteTimeSpan);
            _changed = false;
        }
    }

    private sealed class Tick(GrainTimer timer) : Turn
    {
        public override bool Interleaves => timer._options.Interleave;

        public override bool IsReadOnly => false;

        public override bool IsUse => timer._options.KeepAlive;

        public override bool IsAbandoned => timer._disposed;

        public override bool MovesOn => false;

        protected override Task Invoke() => timer._callback(timer._stopped.Token);

        protected override void Succeed(Task completed) => timer.Ended();

        public override void Fail(Exception exception)
        {
            if (exception is not OperationCanceledException || !timer._stopped.IsCancellationRequested)
            {
                timer._activation.Silo.ReportTimerFailure(timer._activation.GrainId, exception);
            }

            timer.Ended();
        }
    }
}
