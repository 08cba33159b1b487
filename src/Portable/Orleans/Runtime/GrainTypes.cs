using System.Reflection;

namespace Orleans.Runtime;

/// <summary>Which class implements which grain interface, found in the loaded assemblies and those they refer to.</summary>
internal sealed class GrainTypes
{
    private readonly Dictionary<Type, List<Type>> _classesByInterface = [];
    private readonly Dictionary<GrainType, Type> _classByType = [];
    private readonly Dictionary<Type, GrainType> _typeByClass = [];

    public GrainTypes()
        : this(GrainAssemblies().SelectMany(assembly => assembly.GetTypes())) { }

    public GrainTypes(IEnumerable<Type> types)
    {
        foreach (var type in types.Where(t => t is { IsClass: true, IsAbstract: false, ContainsGenericParameters: false }
                                              && typeof(IGrainBase).IsAssignableFrom(t)))
        {
            Add(type);
        }
    }

    /// <summary>The class behind an interface and its name in grain ids.</summary>
    public GrainType Resolve(Type interfaceType, string? classNamePrefix)
    {
        if (!_classesByInterface.TryGetValue(interfaceType, out var classes))
        {
            throw new ArgumentException(
                $"Could not find an implementation for interface {interfaceType}. A grain class implements it and derives from Grain.");
        }

        var matching = classNamePrefix is null
            ? classes
            : classes.FindAll(c => c.FullName!.StartsWith(classNamePrefix, StringComparison.Ordinal));
        return matching.Count == 1
            ? _typeByClass[matching[0]]
            : throw new ArgumentException(
                $"Interface {interfaceType} has {matching.Count} implementations: {string.Join(", ", matching)}. "
                + "Pass grainClassNamePrefix to choose one.");
    }

    public Type ClassOf(GrainType type) => _classByType[type];

    private void Add(Type type)
    {
        var name = GrainType.Create(type.GetCustomAttribute<GrainTypeAttribute>()?.GrainType ?? DefaultName(type));
        if (!_classByType.TryAdd(name, type))
        {
            throw new InvalidOperationException(
                $"Grain classes {_classByType[name]} and {type} have the same grain type '{name}'. Give one of them a [GrainType].");
        }

        _typeByClass.Add(type, name);
        foreach (var implemented in type.GetInterfaces().Where(i => typeof(IGrain).IsAssignableFrom(i)))
        {
            if (implemented != typeof(IGrain) && implemented != typeof(IGrainWithStringKey))
            {
                if (!_classesByInterface.TryGetValue(implemented, out var classes))
                {
                    _classesByInterface.Add(implemented, classes = []);
                }

                classes.Add(type);
            }
        }
    }

    // RunGrain -> "run", the official rule.
    private static string DefaultName(Type type)
    {
        const string suffix = "grain";
#pragma warning disable CA1308 // Grain types are lower case by definition.
        string name = type.Name.ToLowerInvariant();
#pragma warning restore CA1308
        return name.Length > suffix.Length && name.EndsWith(suffix, StringComparison.Ordinal) ? name[..^suffix.Length] : name;
    }

    private static HashSet<Assembly> GrainAssemblies()
    {
        string self = typeof(Grain).Assembly.GetName().Name!;
        var found = new HashSet<Assembly>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var open = new Queue<Assembly>(AppDomain.CurrentDomain.GetAssemblies());
        while (open.TryDequeue(out var assembly))
        {
            if (assembly.IsDynamic || !seen.Add(assembly.FullName!) || IsFramework(assembly.GetName().Name!))
            {
                continue;
            }

            foreach (var name in assembly.GetReferencedAssemblies())
            {
                if (name.Name == self)
                {
                    found.Add(assembly);
                }
                else if (!IsFramework(name.Name!) && !seen.Contains(name.FullName))
                {
                    open.Enqueue(Assembly.Load(name));
                }
            }
        }

        return found;
    }

    private static bool IsFramework(string name) =>
        name.StartsWith("System.", StringComparison.Ordinal) || name.StartsWith("Microsoft.", StringComparison.Ordinal)
        || name is "System" or "mscorlib" or "netstandard";
}
