namespace DarkMatter.Trainer.Methods;

/// <summary>
/// The methods that recipes can name. A method is found by its options record, a subclass of <see cref="MethodOptions"/> with a constructor
/// without parameters: its file is all there is to add.
/// </summary>
public static class MethodRegistry
{
    private static readonly SortedDictionary<string, MethodOptions> ByName = new(
        typeof(MethodRegistry).Assembly.GetTypes()
            .Where(type => !type.IsAbstract && type.IsSubclassOf(typeof(MethodOptions)))
            .Select(type => (MethodOptions)Activator.CreateInstance(type)!)
            .ToDictionary(options => options.Name), StringComparer.Ordinal);

    /// <summary>All names, in alphabetical order.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. ByName.Keys];

    /// <summary>The default options of a method.</summary>
    /// <exception cref="ArgumentException">There is no such method.</exception>
    public static MethodOptions Defaults(string name) => ByName.TryGetValue(name, out var options)
        ? options
        : throw new ArgumentException($"method '{name}' is not known; expected one of {string.Join(", ", Names)}", nameof(name));
}
