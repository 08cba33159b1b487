namespace TorchSharp;

/// <summary>
/// Holds the tensors that were made while it was its thread's innermost scope, and disposes them when it is disposed. The rules and
/// the counts are the official package's.
/// </summary>
public sealed class DisposeScope : IDisposable
{
    private readonly HashSet<IDisposable> members = new(ReferenceEqualityComparer.Instance);
    private DisposeScopeManager? manager;

    internal DisposeScope(DisposeScopeManager manager)
    {
        this.manager = manager;
        OuterScope = manager.CurrentDisposeScope;
    }

    internal DisposeScope? OuterScope { get; set; }

    /// <summary>The members as they are now.</summary>
    public IReadOnlyList<IDisposable> DisposablesView
    {
        get
        {
            ObjectDisposedException.ThrowIf(manager is null, this);
            return [.. members];
        }
    }

    public int DisposablesCount
    {
        get
        {
            ObjectDisposedException.ThrowIf(manager is null, this);
            return members.Count;
        }
    }

    public bool Contains(IDisposable disposable) => members.Contains(disposable);

    /// <summary>Takes in what no scope held, or what another scope held.</summary>
    public void Attach(IDisposable disposable) => Attach([disposable]);

    public void Attach(params IDisposable[] disposables) => Attach((IEnumerable<IDisposable>)disposables);

    public IReadOnlyList<IDisposable> Attach(IEnumerable<IDisposable> disposables)
    {
        ObjectDisposedException.ThrowIf(manager is null, this);
        var all = disposables.ToArray();
        foreach (var disposable in all)
        {
            var tensor = AsTensor(disposable);
            if (tensor.OwningDisposeScope == this) continue;
            manager.StatisticsInstance.TensorStatistics.AttachedToScopeCount++;
            Adopt(tensor);
        }
        return all;
    }

    /// <summary>Lets a member go: from then on no scope disposes it.</summary>
    public T Detach<T>(T disposable) where T : IDisposable
    {
        ObjectDisposedException.ThrowIf(manager is null, this);
        var tensor = AsTensor(disposable);
        if (!members.Remove(tensor)) return disposable;
        manager.StatisticsInstance.TensorStatistics.DetachedFromScopeCount++;
        tensor.OwningDisposeScope = null;
        return disposable;
    }

    public void Detach(params IDisposable[] disposables) => Detach((IEnumerable<IDisposable>)disposables);

    public void Detach(IEnumerable<IDisposable> disposables)
    {
        foreach (var disposable in disposables) Detach(disposable);
    }

    /// <summary>Hands a member to the scope around this one; without one, detaches it.</summary>
    public T MoveToOuter<T>(T disposable) where T : IDisposable => MoveToOther(OuterScope, disposable);

    public (T1 first, T2 second) MoveToOuter<T1, T2>(T1 first, T2 second) where T1 : IDisposable where T2 : IDisposable =>
        (MoveToOuter(first), MoveToOuter(second));

    public (T1 first, T2 second, T3 third) MoveToOuter<T1, T2, T3>(T1 first, T2 second, T3 third)
        where T1 : IDisposable where T2 : IDisposable where T3 : IDisposable =>
        (MoveToOuter(first), MoveToOuter(second), MoveToOuter(third));

    public void MoveToOuter(params IDisposable[] disposables) => MoveToOuter((IEnumerable<IDisposable>)disposables);

    public void MoveToOuter(IEnumerable<IDisposable> disposables)
    {
        foreach (var disposable in disposables) MoveToOuter(disposable);
    }

    public T MoveToOther<T>(DisposeScope? scope, T disposable) where T : IDisposable
    {
        ObjectDisposedException.ThrowIf(manager is null, this);
        if (scope is null) return Detach(disposable);
        if (members.Contains(disposable)) scope.Adopt(AsTensor(disposable));
        return disposable;
    }

    /// <summary>Disposes the members except those named.</summary>
    public void DisposeEverythingBut(params IDisposable[] keep) => DisposeEverythingBut((IEnumerable<IDisposable>)keep);

    public T DisposeEverythingBut<T>(T keep) where T : IDisposable
    {
        DisposeEverythingBut([keep]);
        return keep;
    }

    public void DisposeEverythingBut(IEnumerable<IDisposable> keep)
    {
        ObjectDisposedException.ThrowIf(manager is null, this);
        var kept = new HashSet<IDisposable>(keep, ReferenceEqualityComparer.Instance);
        foreach (var member in members.Where(member => !kept.Contains(member)).ToArray()) member.Dispose();
    }

    public void DisposeEverything() => DisposeEverythingBut([]);

    public void Dispose()
    {
        if (manager is null) return;
        DisposeEverything();
        manager.Remove(this);
        manager = null;
    }

    /// <summary>Forgets a member that was disposed by itself.</summary>
    public void MarkAsDisposed(IDisposable disposable)
    {
        ObjectDisposedException.ThrowIf(manager is null, this);
        members.Remove(disposable);
        AsTensor(disposable).OwningDisposeScope = null;
    }

    internal void Register(torch.Tensor tensor) => members.Add(tensor);

    /// <summary>Puts <paramref name="replacement"/> where <paramref name="original"/> was, without counting either.</summary>
    internal static void Replace(torch.Tensor original, torch.Tensor replacement)
    {
        var scope = original.OwningDisposeScope!;
        scope.members.Remove(original);
        original.OwningDisposeScope = null;
        scope.members.Add(replacement);
        replacement.OwningDisposeScope = scope;
    }

    private void Adopt(torch.Tensor tensor)
    {
        if (tensor.OwningDisposeScope == this) return;
        tensor.OwningDisposeScope?.members.Remove(tensor);
        members.Add(tensor);
        tensor.OwningDisposeScope = this;
    }

    private static torch.Tensor AsTensor(IDisposable disposable) =>
        disposable as torch.Tensor ?? throw new InvalidOperationException($"A DisposeScope holds tensors; this is a {disposable?.GetType().Name ?? "null"}.");
}

/// <summary>The scopes and counts of one thread.</summary>
public class DisposeScopeManager
{
    [ThreadStatic] private static DisposeScopeManager? ofThread;

    internal static DisposeScopeManager ThreadSingleton => ofThread ??= new();

    public static ThreadDisposeScopeStatistics Statistics => ThreadSingleton.StatisticsInstance;

    internal ThreadDisposeScopeStatistics StatisticsInstance { get; } = new();

    internal DisposeScope? CurrentDisposeScope { get; private set; }

    internal DisposeScope NewDisposeScope() => CurrentDisposeScope = new(this);

    internal DisposeScope? Created(torch.Tensor tensor)
    {
        if (CurrentDisposeScope is { } scope)
        {
            StatisticsInstance.TensorStatistics.CreatedInScopeCount++;
            scope.Register(tensor);
            return scope;
        }
        StatisticsInstance.TensorStatistics.CreatedOutsideScopeCount++;
        return null;
    }

    internal void Disposing(torch.Tensor tensor)
    {
        if (tensor.OwningDisposeScope is null) StatisticsInstance.TensorStatistics.DisposedOutsideScopeCount++;
        else StatisticsInstance.TensorStatistics.DisposedInScopeCount++;
    }

    internal void Remove(DisposeScope scope)
    {
        if (CurrentDisposeScope == scope)
        {
            CurrentDisposeScope = scope.OuterScope;
            return;
        }
        // Disposed out of order: the scopes inside it now lie in the one around it.
        for (var inner = CurrentDisposeScope; inner is not null; inner = inner.OuterScope)
        {
            if (inner.OuterScope == scope)
            {
                inner.OuterScope = scope.OuterScope;
                return;
            }
        }
    }
}

/// <summary>What one thread made and disposed.</summary>
public class ThreadDisposeScopeStatistics
{
    public LifetimeStatistics TensorStatistics { get; } = new();

    public long CreatedOutsideScopeCount => TensorStatistics.CreatedOutsideScopeCount;
    public long DisposedOutsideScopeCount => TensorStatistics.DisposedOutsideScopeCount;
    public long CreatedInScopeCount => TensorStatistics.CreatedInScopeCount;
    public long DisposedInScopeCount => TensorStatistics.DisposedInScopeCount;
    public long AttachedToScopeCount => TensorStatistics.AttachedToScopeCount;
    public long DetachedFromScopeCount => TensorStatistics.DetachedFromScopeCount;
    public long ThreadTotalLiveCount => TensorStatistics.ThreadTotalLiveCount;

    public void Reset() => TensorStatistics.Reset();

    public override string ToString() => TensorStatistics.ToString();
}

public class LifetimeStatistics
{
    public long CreatedOutsideScopeCount { get; internal set; }
    public long DisposedOutsideScopeCount { get; internal set; }
    public long CreatedInScopeCount { get; internal set; }
    public long DisposedInScopeCount { get; internal set; }
    public long AttachedToScopeCount { get; internal set; }
    public long DetachedFromScopeCount { get; internal set; }

    public long ThreadTotalLiveCount => CreatedInScopeCount - DisposedInScopeCount + CreatedOutsideScopeCount - DisposedOutsideScopeCount;

    public void Reset()
    {
        CreatedOutsideScopeCount = DisposedOutsideScopeCount = CreatedInScopeCount = 0;
        DisposedInScopeCount = AttachedToScopeCount = DetachedFromScopeCount = 0;
    }

    public override string ToString() =>
        $"ThreadTotalLiveCount: {ThreadTotalLiveCount}; CreatedOutsideScopeCount: {CreatedOutsideScopeCount}; "
        + $"DisposedOutsideScopeCount: {DisposedOutsideScopeCount}; CreatedInScopeCount: {CreatedInScopeCount}; "
        + $"DisposedInScopeCount: {DisposedInScopeCount}; AttachedToScopeCount: {AttachedToScopeCount}; DetachedFromScopeCount: {DetachedFromScopeCount}";
}

public static partial class torch
{
    public static DisposeScope NewDisposeScope() => DisposeScopeManager.ThreadSingleton.NewDisposeScope();

    public static DisposeScope? CurrentDisposeScope => DisposeScopeManager.ThreadSingleton.CurrentDisposeScope;

    /// <summary>Evaluates an expression and keeps, of all its tensors, only the result.</summary>
    public static Tensor WrappedTensorDisposeScope(Func<Tensor> expr)
    {
        using var scope = NewDisposeScope();
        return expr().MoveToOuterDisposeScope();
    }
}
