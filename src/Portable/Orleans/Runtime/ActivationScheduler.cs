namespace Orleans.Runtime;

/// <summary>
/// Runs the turns and continuations of one activation, one at a time, in order, on thread pool threads.
/// An await inside a turn captures this scheduler, so its continuation comes back here.
/// </summary>
internal sealed class ActivationScheduler : TaskScheduler, IThreadPoolWorkItem
{
    /// <summary>Items run before the thread goes back to the pool, so that one busy activation starves no other.</summary>
    private const int ItemsPerSlice = 64;

    [ThreadStatic]
    private static ActivationScheduler? s_running;

    private readonly Queue<object> _items = new();
    private bool _scheduled;

    public ActivationScheduler(Activation owner) => Owner = owner;

    public Activation Owner { get; }

    public override int MaximumConcurrencyLevel => 1;

    /// <summary>Queues the first step of a turn. It starts with a clean execution context: nothing ambient crosses a call.</summary>
    public void Queue(Turn turn) => Enqueue(turn);

    protected override void QueueTask(Task task) => Enqueue(task);

    protected override bool TryExecuteTaskInline(Task task, bool taskWasPreviouslyQueued) =>
        !taskWasPreviouslyQueued && s_running == this && TryExecuteTask(task);

    protected override IEnumerable<Task> GetScheduledTasks()
    {
        lock (_items)
        {
            return _items.OfType<Task>().ToArray();
        }
    }

    private void Enqueue(object item)
    {
        lock (_items)
        {
            _items.Enqueue(item);
            if (_scheduled)
            {
                return;
            }

            _scheduled = true;
        }

        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: true);
    }

    void IThreadPoolWorkItem.Execute()
    {
        s_running = this;
        try
        {
            for (int i = 0; i < ItemsPerSlice; i++)
            {
                object? item;
                lock (_items)
                {
                    if (!_items.TryDequeue(out item))
                    {
                        _scheduled = false;
                        return;
                    }
                }

                if (item is Turn turn)
                {
                    // The body never throws, and runs right here: TryExecuteTaskInline says yes on this thread.
                    new Task(static state => ((Turn)state!).Start(), turn).RunSynchronously(this);
                }
                else
                {
                    TryExecuteTask((Task)item);
                }
            }
        }
        finally
        {
            s_running = null;
        }

        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }
}
