using System.Collections.Concurrent;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Orleans.Configuration;

namespace Orleans.Runtime;

/// <summary>
/// The one silo of this process: finds or makes the activation of a grain, delivers calls, times them out, collects idle activations,
/// and at the end drains what is under way and deactivates everything before the host's deadline.
/// </summary>
internal sealed partial class Silo : IClusterClient, IHostedService, IDisposable
{
    /// <summary>How often calls are looked at for timeouts; a timeout is at most this much late.</summary>
    private static readonly TimeSpan s_sweepPeriod = TimeSpan.FromMilliseconds(250);

    private readonly ConcurrentDictionary<GrainId, Activation> _directory = new();
    private readonly ConcurrentDictionary<GrainType, GrainClass> _classes = new();
    private readonly ConcurrentDictionary<Type, GrainType> _resolved = new();
    private readonly Lazy<GrainTypes> _types;
    private readonly MessagingOptions _messaging;
    private readonly ILogger _log;
    private readonly CancellationTokenSource _stopDeadline = new();
    private ITimer? _sweep;
    private ITimer? _collect;
    private volatile Phase _phase = Phase.Running;

    public Silo(
        IServiceProvider services,
        TimeProvider time,
        IOptions<SiloMessagingOptions> messaging,
        IOptions<GrainCollectionOptions> collection,
        ILoggerFactory loggers)
    {
        Services = services;
        Time = time;
        Collection = collection.Value;
        Calls = new CallList(time);
        _messaging = messaging.Value;
        _log = loggers.CreateLogger("Orleans.Runtime.InProcessSilo");
        _types = new Lazy<GrainTypes>(() => new GrainTypes());
    }

    // Before StartAsync calls are already served: other hosted services may start first.
    private enum Phase
    {
        Running,
        Draining,
        Stopped,
    }

    public IServiceProvider Services { get; }

    IServiceProvider IClusterClient.ServiceProvider => Services;

    public TimeProvider Time { get; }

    public GrainCollectionOptions Collection { get; }

    public CallList Calls { get; }

    public bool DropsExpired => _messaging.DropExpiredMessages;

    /// <summary>Cancelled when the host waits no longer for the silo to stop.</summary>
    public CancellationToken StopDeadline => _stopDeadline.Token;

    public TGrainInterface GetGrain<TGrainInterface>(string primaryKey, string? grainClassNamePrefix = null)
        where TGrainInterface : IGrainWithStringKey =>
        (TGrainInterface)GetGrain(typeof(TGrainInterface), primaryKey, grainClassNamePrefix);

    public IGrain GetGrain(Type grainInterfaceType, string grainPrimaryKey) => (IGrain)GetGrain(grainInterfaceType, grainPrimaryKey, null);

    public object CreateReference(Type interfaceType, GrainId id) => GrainReference.Create(interfaceType, id, this);

    /// <summary>Takes a call from a reference.</summary>
    public void Send(GrainCall call, bool fromGrain)
    {
        // While draining, grains may still call each other, so that what is under way can end.
        if (_phase == Phase.Stopped || (_phase == Phase.Draining && !fromGrain))
        {
            call.Fail(new SiloUnavailableException($"The silo is stopping and takes no new calls: {call}."));
            return;
        }

        if (!call.Method.IsOneWay)
        {
            Calls.Add(call);
        }

        Deliver(call);
    }

    public void Deliver(GrainCall call)
    {
        while (_phase != Phase.Stopped)
        {
            var activation = _directory.GetOrAdd(
                call.Reference.GrainId, static (id, silo) => new Activation(silo, id, silo.ClassOf(id.Type)), this);
            if (activation.TryReceive(call))
            {
                return;
            }

            // It is gone and about to leave the directory.
            Remove(activation);
        }

        call.Fail(new SiloUnavailableException($"The silo has stopped: {call}."));
    }

    public void Remove(Activation activation) => _directory.TryRemove(KeyValuePair.Create(activation.GrainId, activation));

    public Task StartAsync(CancellationToken cancellationToken)
    {
        if (Collection.CollectionQuantum <= TimeSpan.Zero || Collection.CollectionAge <= Collection.CollectionQuantum)
        {
            throw new OrleansException(
                $"GrainCollectionOptions.CollectionAge ({Collection.CollectionAge}) must be greater than "
                + $"CollectionQuantum ({Collection.CollectionQuantum}), which must be positive.");
        }

        _sweep = Time.CreateTimer(static silo => ((Silo)silo!).TimeOutCalls(), this, s_sweepPeriod, s_sweepPeriod);
        _collect = Time.CreateTimer(
            static silo => ((Silo)silo!).CollectIdle(), this, Collection.CollectionQuantum, Collection.CollectionQuantum);
        return Task.CompletedTask;
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        _phase = Phase.Draining;
        await using var deadline = cancellationToken.UnsafeRegister(static stop => ((CancellationTokenSource)stop!).Cancel(), _stopDeadline);
        try
        {
            await Calls.WaitUntilEmpty().WaitAsync(cancellationToken);
            while (!_directory.IsEmpty)
            {
                // Deactivating grains may call others, and so wake them again.
                await Task.WhenAll(_directory.Values.Select(DeactivateForStop)).WaitAsync(cancellationToken);
            }
        }
        catch (OperationCanceledException)
        {
            LogStopDeadline(_log, _directory.Count, string.Join(", ", _directory.Keys.Take(10)));
        }

        _phase = Phase.Stopped;
        _sweep?.Dispose();
        _collect?.Dispose();
        var stopped = new SiloUnavailableException("The silo has stopped before the call ended.");
        foreach (var activation in _directory.Values)
        {
            activation.Abandon(stopped);
        }

        foreach (var call in Calls.TakeOlderThan(TimeSpan.Zero))
        {
            call.Fail(stopped);
        }
    }

    public void Dispose() => _stopDeadline.Dispose();

    public void ReportLostFailure(GrainCall call, Exception exception) => LogOneWayFailed(_log, call.ToString(), exception);

    public void ReportTimerFailure(GrainId grain, Exception exception) => LogTimerFailed(_log, grain, exception);

    public void ReportDeactivationFailure(GrainId grain, Exception exception) => LogDeactivationFailed(_log, grain, exception);

    private static Task DeactivateForStop(Activation activation)
    {
        activation.Deactivate(new(DeactivationReasonCode.ShuttingDown, "This process is terminating."));
        return activation.Deactivated;
    }

    private object GetGrain(Type interfaceType, string key, string? classNamePrefix)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(key);
        var type = classNamePrefix is null
            ? _resolved.GetOrAdd(interfaceType, static (wanted, silo) => silo._types.Value.Resolve(wanted, null), this)
            : _types.Value.Resolve(interfaceType, classNamePrefix);
        return CreateReference(interfaceType, GrainId.Create(type, key));
    }

    private GrainClass ClassOf(GrainType type) =>
        _classes.GetOrAdd(type, static (wanted, silo) => new GrainClass(silo._types.Value.ClassOf(wanted)), this);

    private void TimeOutCalls()
    {
        foreach (var call in Calls.TakeOlderThan(_messaging.ResponseTimeout))
        {
            call.Fail(new TimeoutException($"Response did not arrive on time in {_messaging.ResponseTimeout} for message: {call}. "));
        }
    }

    private void CollectIdle()
    {
        foreach (var activation in _directory.Values)
        {
            activation.DeactivateIfIdle(Collection.CollectionAge);
        }
    }

    [LoggerMessage(LogLevel.Warning, "The silo stopped at its deadline with {Count} activations still busy: {Grains}")]
    private static partial void LogStopDeadline(ILogger log, int count, string grains);

    [LoggerMessage(LogLevel.Warning, "A one-way call failed and nobody waits for it: {Call}")]
    private static partial void LogOneWayFailed(ILogger log, string call, Exception exception);

    [LoggerMessage(LogLevel.Error, "A timer callback of grain {Grain} failed")]
    private static partial void LogTimerFailed(ILogger log, GrainId grain, Exception exception);

    [LoggerMessage(LogLevel.Error, "Grain {Grain} failed while it deactivated")]
    private static partial void LogDeactivationFailed(ILogger log, GrainId grain, Exception exception);
}
