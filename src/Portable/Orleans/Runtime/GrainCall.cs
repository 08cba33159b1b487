using System.Globalization;

namespace Orleans.Runtime;

/// <summary>One call of a grain method, from the caller's copy of the arguments to the callee's copy of the result.</summary>
internal abstract class GrainCall : Turn
{
    private protected GrainCall(GrainMethod method, GrainReference reference, object?[] arguments, string? caller)
    {
        Method = method;
        Reference = reference;
        Arguments = arguments;
        Caller = caller;
    }

    public GrainMethod Method { get; }

    public GrainReference Reference { get; }

    public object?[] Arguments { get; }

    /// <summary>The calling grain, or null for a client.</summary>
    public string? Caller { get; }

    /// <summary>Links of the silo's list of calls under way, oldest first; guarded by that list.</summary>
    internal GrainCall? Earlier { get; set; }

    internal GrainCall? Later { get; set; }

    internal long StartedAt { get; set; }

    internal bool IsTracked { get; set; }

    public sealed override bool Interleaves => Method.AlwaysInterleaves;

    public sealed override bool IsReadOnly => Method.IsReadOnly;

    public sealed override bool MovesOn => true;

    protected sealed override Task Invoke() => Method.Invoke(Target!.GrainInstance!, Arguments);

    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture, $"Request [{Caller ?? "client"}]->[{Reference.GrainId}] {Method.Name}");
}

/// <summary>A call whose result is a <typeparamref name="T"/>; <see cref="NoResult"/> for a plain task.</summary>
internal sealed class GrainCall<T> : GrainCall
{
    // Continuations of the caller run on the caller's scheduler, never inside the callee's turn.
    private readonly TaskCompletionSource<T> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public GrainCall(GrainMethod method, GrainReference reference, object?[] arguments, string? caller)
        : base(method, reference, arguments, caller) { }

    public Task<T> Answer => _answer.Task;

    public override bool IsAbandoned => _answer.Task.IsCompleted && Reference.Silo.DropsExpired && !Method.IsOneWay;

    protected override void Succeed(Task completed)
    {
        T result = completed is Task<T> typed ? typed.Result : default!;
        if (Method.CopiesResult)
        {
            result = DeepCopier.CopyValue(result);
        }

        Reference.Silo.Calls.Remove(this);
        _answer.TrySetResult(result);
    }

    public override void Fail(Exception exception)
    {
        Reference.Silo.Calls.Remove(this);
        if (Method.IsOneWay)
        {
            Reference.Silo.ReportLostFailure(this, exception);
        }

        _answer.TrySetException(exception);
    }
}

/// <summary>The result of a method that has none.</summary>
internal readonly struct NoResult;
