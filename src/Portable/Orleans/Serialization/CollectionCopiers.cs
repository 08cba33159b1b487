using System.Collections.Immutable;
using System.Collections.ObjectModel;
using System.Reflection;

namespace Orleans;

/// <summary>Copiers of the framework's collections, tuples and buffers.</summary>
internal static class CollectionCopiers
{
    private static readonly Dictionary<Type, string> s_makers = new()
    {
        [typeof(List<>)] = nameof(List),
        [typeof(Dictionary<,>)] = nameof(Dictionary),
        [typeof(SortedDictionary<,>)] = nameof(SortedDictionary),
        [typeof(HashSet<>)] = nameof(HashSet),
        [typeof(SortedSet<>)] = nameof(SortedSet),
        [typeof(Queue<>)] = nameof(Queue),
        [typeof(Stack<>)] = nameof(Stack),
        [typeof(ReadOnlyCollection<>)] = nameof(ReadOnlyCollection),
        [typeof(ImmutableArray<>)] = nameof(ImmutableArray),
        [typeof(ImmutableList<>)] = nameof(ImmutableList),
        [typeof(ImmutableHashSet<>)] = nameof(ImmutableHashSet),
        [typeof(ImmutableDictionary<,>)] = nameof(ImmutableDictionary),
        [typeof(ImmutableSortedDictionary<,>)] = nameof(ImmutableSortedDictionary),
        [typeof(KeyValuePair<,>)] = nameof(Pair),
        [typeof(Memory<>)] = nameof(Memory),
        [typeof(ReadOnlyMemory<>)] = nameof(ReadOnlyMemory),
        [typeof(ArraySegment<>)] = nameof(Segment),
    };

    public static bool TryFor(Type open, Type[] arguments, out CopyObject? copier)
    {
        if (s_makers.TryGetValue(open, out string? name))
        {
            var maker = typeof(CollectionCopiers).GetMethod(name, BindingFlags.NonPublic | BindingFlags.Static)!;
            copier = (CopyObject?)maker.MakeGenericMethod(arguments).Invoke(null, null);
            return true;
        }

        if (open.FullName!.StartsWith("System.ValueTuple`", StringComparison.Ordinal)
            || open.FullName.StartsWith("System.Tuple`", StringComparison.Ordinal))
        {
            var type = open.MakeGenericType(arguments);
            copier = Array.TrueForAll(arguments, DeepCopier.IsShared)
                ? null
                : MemberCopier.ForFields(type, type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic));
            return true;
        }

        copier = null;
        return false;
    }

    public static CopyObject ForArray(Type type)
    {
        bool shared = DeepCopier.IsShared(type.GetElementType()!);
        return (source, context) =>
        {
            var copy = (Array)((Array)source).Clone();
            context.Add(source, copy);
            if (!shared)
            {
                CopyElements((Array)source, copy, context);
            }

            return copy;
        };
    }

    private static void CopyElements(Array source, Array copy, CopyContext context)
    {
        if (source is object?[] from && copy is object?[] to)
        {
            for (int i = 0; i < from.Length; i++)
            {
                to[i] = DeepCopier.CopyPart(from[i], context);
            }

            return;
        }

        // Arrays of structs and of more than one dimension: walk every index.
        int[] index = new int[source.Rank];
        for (int d = 0; d < source.Rank; d++)
        {
            index[d] = source.GetLowerBound(d);
        }

        for (long left = source.LongLength; left > 0; left--)
        {
            copy.SetValue(DeepCopier.CopyPart(source.GetValue(index), context), index);
            for (int d = source.Rank - 1; d >= 0 && ++index[d] > source.GetUpperBound(d); d--)
            {
                index[d] = source.GetLowerBound(d);
            }
        }
    }

    private static T Part<T>(T value, CopyContext context) => (T)DeepCopier.CopyPart(value, context)!;

    private static CopyObject List<T>()
    {
        bool shared = DeepCopier.IsShared(typeof(T));
        return (source, context) =>
        {
            var from = (List<T>)source;
            if (shared)
            {
                var whole = new List<T>(from);
                context.Add(source, whole);
                return whole;
            }

            var copy = new List<T>(from.Count);
            context.Add(source, copy);
            foreach (var item in from)
            {
                copy.Add(Part(item, context));
            }

            return copy;
        };
    }

    private static CopyObject Dictionary<TKey, TValue>()
        where TKey : notnull => (source, context) =>
    {
        var from = (Dictionary<TKey, TValue>)source;
        var copy = new Dictionary<TKey, TValue>(from.Count, from.Comparer);
        context.Add(source, copy);
        foreach (var (key, value) in from)
        {
            copy.Add(Part(key, context), Part(value, context));
        }

        return copy;
    };

    private static CopyObject SortedDictionary<TKey, TValue>()
        where TKey : notnull => (source, context) =>
    {
        var from = (SortedDictionary<TKey, TValue>)source;
        var copy = new SortedDictionary<TKey, TValue>(from.Comparer);
        context.Add(source, copy);
        foreach (var (key, value) in from)
        {
            copy.Add(Part(key, context), Part(value, context));
        }

        return copy;
    };

    private static CopyObject HashSet<T>() => (source, context) =>
    {
        var from = (HashSet<T>)source;
        var copy = new HashSet<T>(from.Count, from.Comparer);
        context.Add(source, copy);
        foreach (var item in from)
        {
            copy.Add(Part(item, context));
        }

        return copy;
    };

    private static CopyObject SortedSet<T>() => (source, context) =>
    {
        var from = (SortedSet<T>)source;
        var copy = new SortedSet<T>(from.Comparer);
        context.Add(source, copy);
        foreach (var item in from)
        {
            copy.Add(Part(item, context));
        }

        return copy;
    };

    private static CopyObject Queue<T>() => (source, context) =>
    {
        var from = (Queue<T>)source;
        var copy = new Queue<T>(from.Count);
        context.Add(source, copy);
        foreach (var item in from)
        {
            copy.Enqueue(Part(item, context));
        }

        return copy;
    };

    private static CopyObject Stack<T>() => (source, context) =>
    {
        var items = ((Stack<T>)source).ToArray();
        var copy = new Stack<T>(items.Length);
        context.Add(source, copy);
        for (int i = items.Length - 1; i >= 0; i--)
        {
            copy.Push(Part(items[i], context));
        }

        return copy;
    };

    private static CopyObject ReadOnlyCollection<T>() => (source, context) =>
    {
        var items = new List<T>();
        var copy = new ReadOnlyCollection<T>(items);
        context.Add(source, copy);
        foreach (var item in (ReadOnlyCollection<T>)source)
        {
            items.Add(Part(item, context));
        }

        return copy;
    };

    private static CopyObject? ImmutableArray<T>() => DeepCopier.IsShared(typeof(T)) ? null : (source, context) =>
    {
        var from = (ImmutableArray<T>)source;
        return from.IsDefault ? source : System.Collections.Immutable.ImmutableArray.CreateRange(from, item => Part(item, context));
    };

    private static CopyObject? ImmutableList<T>() => DeepCopier.IsShared(typeof(T)) ? null : (source, context) =>
        System.Collections.Immutable.ImmutableList.CreateRange(((ImmutableList<T>)source).Select(item => Part(item, context)));

    private static CopyObject? ImmutableHashSet<T>() => DeepCopier.IsShared(typeof(T)) ? null : (source, context) =>
    {
        var from = (ImmutableHashSet<T>)source;
        return System.Collections.Immutable.ImmutableHashSet.CreateRange(from.KeyComparer, from.Select(item => Part(item, context)));
    };

    private static CopyObject? ImmutableDictionary<TKey, TValue>()
        where TKey : notnull => AreShared<TKey, TValue>() ? null : (source, context) =>
    {
        var from = (ImmutableDictionary<TKey, TValue>)source;
        return System.Collections.Immutable.ImmutableDictionary.CreateRange(
            from.KeyComparer, from.ValueComparer, from.Select(pair => PairCopy(pair, context)));
    };

    private static CopyObject? ImmutableSortedDictionary<TKey, TValue>()
        where TKey : notnull => AreShared<TKey, TValue>() ? null : (source, context) =>
    {
        var from = (ImmutableSortedDictionary<TKey, TValue>)source;
        return System.Collections.Immutable.ImmutableSortedDictionary.CreateRange(
            from.KeyComparer, from.ValueComparer, from.Select(pair => PairCopy(pair, context)));
    };

    private static CopyObject? Pair<TKey, TValue>() => AreShared<TKey, TValue>()
        ? null
        : (source, context) => PairCopy((KeyValuePair<TKey, TValue>)source, context);

    private static CopyObject Memory<T>() => (source, context) => new Memory<T>(Elements<T>((Memory<T>)source, context));

    private static CopyObject ReadOnlyMemory<T>() =>
        (source, context) => new ReadOnlyMemory<T>(Elements((ReadOnlyMemory<T>)source, context));

    private static CopyObject Segment<T>() => (source, context) =>
    {
        var from = (ArraySegment<T>)source;
        return from.Array is null ? source : new ArraySegment<T>(Elements<T>(from.AsMemory(), context));
    };

    private static T[] Elements<T>(ReadOnlyMemory<T> from, CopyContext context)
    {
        var copy = from.ToArray();
        if (!DeepCopier.IsShared(typeof(T)))
        {
            for (int i = 0; i < copy.Length; i++)
            {
                copy[i] = Part(copy[i], context);
            }
        }

        return copy;
    }

    private static bool AreShared<TKey, TValue>() => DeepCopier.IsShared(typeof(TKey)) && DeepCopier.IsShared(typeof(TValue));

    private static KeyValuePair<TKey, TValue> PairCopy<TKey, TValue>(KeyValuePair<TKey, TValue> pair, CopyContext context) =>
        new(Part(pair.Key, context), Part(pair.Value, context));
}
