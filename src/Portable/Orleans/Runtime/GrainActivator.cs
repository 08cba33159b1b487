using System.Reflection;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Storage;

namespace Orleans.Runtime;

/// <summary>Constructs grains of one class: constructor arguments come from the container, or from their [PersistentState].</summary>
internal sealed class GrainActivator
{
    private readonly ConstructorInfo _constructor;
    private readonly Func<Activation, PersistentStates, object?>[] _arguments;

    public GrainActivator(Type grainClass)
    {
        var constructors = grainClass.GetConstructors();
        _constructor = constructors.SingleOrDefault(c => c.IsDefined(typeof(ActivatorUtilitiesConstructorAttribute)))
            ?? (constructors.Length == 1 ? constructors[0] : throw new InvalidOperationException(
                $"Grain class {grainClass} has {constructors.Length} public constructors, but needs exactly one, "
                + "or one marked [ActivatorUtilitiesConstructor]."));
        _arguments = Array.ConvertAll(_constructor.GetParameters(), SourceOf);
    }

    /// <summary>Runs the constructor; states are created, not yet read.</summary>
    public object Create(Activation activation, PersistentStates states)
    {
        object?[] arguments = Array.ConvertAll(_arguments, source => source(activation, states));
        return _constructor.Invoke(BindingFlags.DoNotWrapExceptions, null, arguments, null);
    }

    private static Func<Activation, PersistentStates, object?> SourceOf(ParameterInfo parameter)
    {
        var type = parameter.ParameterType;
        if (parameter.GetCustomAttribute<PersistentStateAttribute>() is { } facet)
        {
            if (!type.IsGenericType || type.GetGenericTypeDefinition() != typeof(IPersistentState<>))
            {
                throw new InvalidOperationException(
                    $"[PersistentState] stands on parameter '{parameter.Name}' of {parameter.Member.DeclaringType}, "
                    + $"which is a {type}; it must be an IPersistentState<T>.");
            }

            var state = typeof(PersistentState<>).MakeGenericType(type.GenericTypeArguments);
            return (activation, states) =>
            {
                var storage = StorageNamed(activation.ActivationServices, facet.StorageName, parameter);
                var created = (IReadableState)Activator.CreateInstance(state, facet.StateName, activation.GrainId, storage)!;
                states.Add(created);
                return created;
            };
        }

        if (type == typeof(IGrainContext))
        {
            return (activation, _) => activation;
        }

        return (activation, _) => parameter.HasDefaultValue
            ? activation.ActivationServices.GetService(type) ?? parameter.DefaultValue
            : activation.ActivationServices.GetRequiredService(type);
    }

    private static IGrainStorage StorageNamed(IServiceProvider services, string? name, ParameterInfo parameter) =>
        services.GetKeyedService<IGrainStorage>(name ?? StorageNames.Default)
        ?? throw new InvalidOperationException(
            name is null
                ? $"No default storage provider found loading grain type {parameter.Member.DeclaringType}. Add one with AddMemoryGrainStorageAsDefault."
                : $"No storage provider named \"{name}\" found loading grain type {parameter.Member.DeclaringType}. Add it with AddGrainStorage.");
}

/// <summary>The states of one activation, read together before it starts.</summary>
internal sealed class PersistentStates
{
    private readonly List<IReadableState> _states = [];

    public void Add(IReadableState state) => _states.Add(state);

    public async Task ReadAll()
    {
        foreach (var state in _states)
        {
            await state.ReadStateAsync();
        }
    }
}
