using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Numerics;
using Orleans.Concurrency;
using Orleans.Runtime;
using Orleans.Serialization;

namespace Orleans;

/// <summary>Copies one value of a known run-time type. Null means that values of the type are shared, not copied.</summary>
internal delegate object CopyObject(object source, CopyContext context);

/// <summary>Remembers the copies made, so that what was one object stays one object and cycles end.</summary>
internal sealed class CopyContext
{
    private readonly Dictionary<object, object> _copies = new(ReferenceEqualityComparer.Instance);

    public bool TryGet(object source, out object copy) => _copies.TryGetValue(source, out copy!);

    public void Add(object source, object copy) => _copies.TryAdd(source, copy);
}

/// <summary>Isolates arguments, results and stored states: what crosses a call is a copy unless nobody can change it.</summary>
internal static class DeepCopier
{
    private static readonly ConcurrentDictionary<Type, CopyObject?> s_copiers = new();

    public static T CopyValue<T>(T value)
    {
        if (value is null || CopierOf(value.GetType()) is not { } copier)
        {
            return value;
        }

        return (T)copier(value, new CopyContext());
    }

    /// <summary>Replaces the arguments by copies. One object passed twice arrives as one object.</summary>
    public static void CopyArguments(object?[] arguments, bool[] copies)
    {
        CopyContext? context = null;
        for (int i = 0; i < arguments.Length; i++)
        {
            if (copies[i] && arguments[i] is { } value && CopierOf(value.GetType()) is { } copier)
            {
                context ??= new CopyContext();
                arguments[i] = context.TryGet(value, out object known) ? known : copier(value, context);
            }
        }
    }

    /// <summary>Copies a part of a bigger value.</summary>
    public static object? CopyPart(object? value, CopyContext context)
    {
        if (value is null || CopierOf(value.GetType()) is not { } copier)
        {
            return value;
        }

        return context.TryGet(value, out object known) ? known : copier(value, context);
    }

    /// <summary>Whether values whose static type is this one never need a copy, whatever they are at run time.</summary>
    public static bool IsShared(Type type) => type.IsValueType
        ? CopierOf(Nullable.GetUnderlyingType(type) ?? type) is null
        : type.IsSealed && IsImmutable(type);

    private static CopyObject? CopierOf(Type type) =>
        s_copiers.TryGetValue(type, out var known) ? known : s_copiers.GetOrAdd(type, Describe);

    private static CopyObject? Describe(Type type)
    {
        if (IsImmutable(type) || typeof(Type).IsAssignableFrom(type) || typeof(Exception).IsAssignableFrom(type) || typeof(IAddressable).IsAssignableFrom(type)
            || typeof(CultureInfo).IsAssignableFrom(type))
        {
            return null;
        }

        if (type.IsArray)
        {
            return CollectionCopiers.ForArray(type);
        }

        if (type.IsGenericType)
        {
            var open = type.GetGenericTypeDefinition();
            if (open == typeof(Immutable<>) || IsComparer(type))
            {
                return null;
            }

            if (CollectionCopiers.TryFor(open, type.GenericTypeArguments, out var collection))
            {
                return collection;
            }
        }

        if (type.IsDefined(typeof(GenerateSerializerAttribute), inherit: false))
        {
            return MemberCopier.For(type);
        }

        throw new CodecNotFoundException(
            $"Could not find a copier for type {type}. Mark it with [GenerateSerializer] and its members with [Id(n)].");
    }

    private static bool IsImmutable(Type type) =>
        type.IsPrimitive || type.IsEnum || s_immutable.Contains(type) || type.IsDefined(typeof(ImmutableAttribute), inherit: false);

    private static bool IsComparer(Type type) =>
        type.Namespace == "System.Collections.Generic" && type.Name.Contains("Comparer", StringComparison.Ordinal);

    private static readonly HashSet<Type> s_immutable =
    [
        typeof(string), typeof(decimal), typeof(DateTime), typeof(DateTimeOffset), typeof(DateOnly), typeof(TimeOnly), typeof(TimeSpan),
        typeof(Guid), typeof(Half), typeof(Int128), typeof(UInt128), typeof(BigInteger), typeof(Uri), typeof(Version), typeof(Index),
        typeof(Range), typeof(IPAddress), typeof(IPEndPoint), typeof(CancellationToken), typeof(GrainId), typeof(GrainType), typeof(IdSpan),
        typeof(object), typeof(NoResult), typeof(System.Text.Rune),
    ];
}
