using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>What a writer of checkpoints needs to know.</summary>
public sealed record CheckpointWriterOptions
{
    /// <summary>This rank, from 0.</summary>
    public int Rank { get; init; }

    /// <summary>Ranks of the generation: each writes its part.</summary>
    public int World { get; init; } = 1;

    /// <summary>The generation that writes.</summary>
    public long Generation { get; init; }

    /// <summary>The resolved recipe's text.</summary>
    public string Recipe { get; init; } = "";

    /// <summary>Who writes; see <see cref="CheckpointWriter.Versions"/>.</summary>
    public IReadOnlyDictionary<string, string> Versions { get; init; } = new Dictionary<string, string>();

    /// <summary>Which checkpoints stay.</summary>
    public CheckpointRetention Retention { get; init; } = new();

    /// <summary>
    /// A checkpoint that has been in flight for less than this is waited for by the next; one in flight for longer makes the next be left
    /// out. So only checkpoints that come more often than this ever wait. Default 5 s.
    /// </summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long one checkpoint may take to write. Default 10 minutes.</summary>
    public TimeSpan Deadline { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>Gets what a person may want to read; called from any thread.</summary>
    public Action<string> Note { get; init; } = _ => { };
}

/// <summary>
/// Writes this rank's part of checkpoints while training goes on: the training thread only copies memory, a thread of low priority does
/// the rest. Whichever rank's part is the last publishes the checkpoint. One writer for each generation; at most one checkpoint is in
/// flight. That one cannot be written is noted, and training goes on with the older ones: only <see cref="Complete"/> throws.
/// </summary>
public sealed class CheckpointWriter : IDisposable
{
    private readonly CheckpointStore _store;
    private readonly ICheckpointCoordinator _coordinator;
    private readonly CheckpointWriterOptions _options;
    private readonly TensorSet _model;
    private readonly TensorSet _optimizer;
    private readonly CancellationTokenSource _disposed = new();
    private Task _writing = Task.CompletedTask;
    private long _writingSince;

    /// <summary>Makes a writer; it owns neither store nor tensors.</summary>
    /// <param name="store">Where checkpoints go.</param>
    /// <param name="coordinator">Brings the ranks' parts together.</param>
    /// <param name="options">Who writes.</param>
    /// <param name="model">The networks, all of them: the writer takes its part.</param>
    /// <param name="optimizer">The optimizer's memory, all of it.</param>
    public CheckpointWriter(CheckpointStore store, ICheckpointCoordinator coordinator, CheckpointWriterOptions options, TensorSet model, TensorSet optimizer)
    {
        (_store, _coordinator, _options) = (store, coordinator, options);
        (_model, _optimizer) = (model.Part(options.Rank, options.World), optimizer.Part(options.Rank, options.World));
    }

    /// <summary>Where the newest checkpoint lies that this writer published; null when it published none.</summary>
    public string? LatestPath { get; private set; }

    /// <summary>
    /// Whether <see cref="Save"/> would leave a checkpoint out. Ranks that leave out different steps make no whole checkpoint: they ask this
    /// first, and all leave it out when one does.
    /// </summary>
    public bool IsBusy => IsWriting && Stopwatch.GetElapsedTime(_writingSince) >= _options.Patience;

    /// <summary>The longest that <see cref="Complete"/> may take.</summary>
    public TimeSpan Deadline => _options.Deadline;

    /// <summary>Whether a checkpoint is in flight.</summary>
    public bool IsWriting => !_writing.IsCompleted;

    /// <summary>Time that the last <see cref="Save"/> held up the training thread.</summary>
    public TimeSpan Captured { get; private set; }

    /// <summary>
    /// Copies this rank's part of the state and starts to write it. While the checkpoint before is still being written after
    /// <see cref="CheckpointWriterOptions.Patience"/>, this one is left out, with a note; if it is <paramref name="required"/>, it waits.
    /// </summary>
    /// <returns>Whether it is being written.</returns>
    public bool Save(TrainingProgress progress, bool required = false)
    {
        ObjectDisposedException.ThrowIf(_disposed.IsCancellationRequested, this);
        var patience = (required ? _options.Deadline : _options.Patience) - Stopwatch.GetElapsedTime(_writingSince);
        if (Task.WaitAny([_writing], patience > TimeSpan.Zero ? patience : TimeSpan.Zero) < 0)
        {
            if (required)
                throw TooSlow();
            _options.Note($"no checkpoint of step {progress.Step}: the one before is still being written to {_store.Location}; write them less often (train.checkpoint_every)");
            return false;
        }

        var start = Stopwatch.GetTimestamp();
        var (model, optimizer) = (_model.Capture(), _optimizer.Capture());
        Captured = Stopwatch.GetElapsedTime(start);
        _writingSince = Stopwatch.GetTimestamp();
        _writing = InBackground(() => WriteAsync(progress, model, optimizer));
        return true;
    }

    /// <summary>Waits until the checkpoint in flight is published or, on ranks that do not publish, written.</summary>
    /// <exception cref="CheckpointException">The last one could not be written, or takes longer than its deadline. Thrown once.</exception>
    public void Complete()
    {
        var writing = _writing;
        if (Task.WaitAny([writing], _options.Deadline) < 0)
            throw TooSlow();
        _writing = Task.CompletedTask;
        writing.GetAwaiter().GetResult();
    }

    /// <summary>Gives up the checkpoint in flight; it stays invisible. Does not wait.</summary>
    public void Dispose() => _ = _disposed.CancelAsync();

    /// <summary>What this program and its libraries are.</summary>
    public static IReadOnlyDictionary<string, string> Versions(string stack) => new Dictionary<string, string>
    {
        ["darkmatter"] = typeof(CheckpointWriter).Assembly.GetName().Version?.ToString(3) ?? "unknown",
        ["runtime"] = RuntimeInformation.FrameworkDescription,
        ["tensors"] = stack,
    };

    private CheckpointException TooSlow() =>
        new($"a checkpoint was not written to '{_store.Location}' within {_options.Deadline.TotalMinutes:0.#} minutes; the store is too slow or hangs");

    /// <summary>Writes one checkpoint's part, and all that belongs to publishing when it is the last part.</summary>
    private async Task WriteAsync(TrainingProgress progress, IReadOnlyList<SafetensorsItem> model, IReadOnlyList<SafetensorsItem> optimizer)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(_disposed.Token);
        limit.CancelAfter(_options.Deadline);
        var files = new List<CheckpointFile>();
        var reported = false;
        try
        {
            await WritePartAsync(progress.Step, files, model, optimizer, limit.Token);
            reported = true; // from here on another rank may publish them, whatever becomes of this one
            var collected = await _coordinator.ReportPartAsync(new PartReport(progress.Step, _options.Rank, _options.World, files), limit.Token);
            if (collected.Complete)
                await PublishAsync(progress, collected.Files, limit.Token);
        }
        catch (Exception e)
        {
            if (!reported)
                await DiscardAsync(progress.Step, files);
            if (e is OperationCanceledException && _disposed.IsCancellationRequested)
                return;
            var failure = Explain(progress.Step, e);
            _options.Note(failure.Message);
            throw failure;
        }
    }

    private async Task WritePartAsync(
        long step, List<CheckpointFile> files, IReadOnlyList<SafetensorsItem> model, IReadOnlyList<SafetensorsItem> optimizer, CancellationToken cancellationToken)
    {
        var metadata = new Dictionary<string, string> { ["format"] = "pt" };
        await Write(CheckpointKind.Model, SafetensorsWriter.Layout(model, metadata));
        await Write(CheckpointKind.Optimizer, SafetensorsWriter.Layout(optimizer, metadata));
        if (_options.Rank == 0)
            await Write(CheckpointKind.Recipe, new(Encoding.UTF8.GetBytes(_options.Recipe)));

        async Task Write(CheckpointKind kind, System.Buffers.ReadOnlySequence<byte> content) =>
            files.Add(await _store.WriteAsync(step, kind, _options.Rank, _options.World, content, cancellationToken));
    }

    private async Task PublishAsync(TrainingProgress progress, IReadOnlyList<CheckpointFile> files, CancellationToken cancellationToken)
    {
        var manifest = new CheckpointManifest
        {
            Format = CheckpointManifest.CurrentFormat,
            Progress = progress,
            Files = files,
            Versions = _options.Versions,
            Generation = _options.Generation,
            World = _options.World,
        };
        var published = await _store.PublishAsync(manifest, cancellationToken);
        if (!await _coordinator.PublishAsync(published, cancellationToken))
        {
            await _store.WithdrawAsync(published, cancellationToken);
            throw new CheckpointException($"checkpoint of step {progress.Step}, generation {_options.Generation}: the run has gone on from an earlier step meanwhile, or is over; it is deleted");
        }

        LatestPath = published.Path;
        try
        {
            await _store.CollectAsync(await _store.ReadManifestAsync(progress.Step, cancellationToken), _options.Retention, cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CheckpointException)
        {
            // What cannot be deleted now only takes space, and is collected with the next.
            _options.Note($"old checkpoints in {_store.Location} could not be deleted: {e.Message}");
        }
    }

    private CheckpointException Explain(long step, Exception e) => e switch
    {
        CheckpointException known => known,
        OperationCanceledException => TooSlow(),
        IOException or UnauthorizedAccessException => new CheckpointException(
            $"checkpoint of step {step} could not be written to '{_store.PathOf(step)}': {e.Message} Free space or choose another place; older checkpoints are untouched.", e),
        _ => new CheckpointException($"checkpoint of step {step} in '{_store.PathOf(step)}' could not be published: {e.Message} Older checkpoints are untouched.", e),
    };

    /// <summary>What cannot be deleted now is collected with a later checkpoint.</summary>
    private async Task DiscardAsync(long step, IReadOnlyList<CheckpointFile> files)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(10));
        try
        {
            await _store.DiscardAsync(step, files, limit.Token);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or OperationCanceledException)
        {
            Trace.TraceWarning($"Parts of step {step} stay in '{_store.Location}': {e.Message}");
        }
    }

    private static Task InBackground(Func<Task> work)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(() =>
        {
            ThreadPriorities.Lower();
            try
            {
                work().GetAwaiter().GetResult();
                done.SetResult();
            }
            catch (Exception e)
            {
                done.SetException(e);
                _ = done.Task.Exception; // Complete throws it; if nobody asks, it was noted.
            }
        })
        { IsBackground = true, Name = "checkpoint" }.Start();
        return done.Task;
    }
}
