using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.CompilerServices;
using Orleans.Serialization;

namespace Orleans;

/// <summary>
/// Copies objects of [GenerateSerializer] types member by member: those with [Id], and a record's primary constructor parameters.
/// Other members keep the value that the parameterless constructor gives them, or their default.
/// </summary>
internal static class MemberCopier
{
    private const BindingFlags Declared = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    public static CopyObject? For(Type type)
    {
        var fields = new List<FieldInfo>();
        for (var level = type; level != typeof(object) && level != typeof(ValueType) && level is not null; level = level.BaseType!)
        {
            if (!level.IsDefined(typeof(GenerateSerializerAttribute), inherit: false))
            {
                throw new CodecNotFoundException(
                    $"Could not find a copier for type {level}, the base of {type}. Mark it with [GenerateSerializer].");
            }

            fields.AddRange(MembersOf(level));
        }

        // A struct of parts that nobody can change is its own copy.
        return type.IsValueType && fields.TrueForAll(f => IsSharedMember(f)) && fields.Count == AllFields(type)
            ? null
            : ForFields(type, [.. fields]);
    }

    /// <summary>Compiles <c>to.f = copy(from.f)</c> for the fields, read-only ones included.</summary>
    public static CopyObject ForFields(Type type, FieldInfo[] fields)
    {
        var method = new DynamicMethod(
            "Copy", typeof(void), [typeof(object), typeof(object), typeof(CopyContext)], typeof(MemberCopier).Module, skipVisibility: true);
        var il = method.GetILGenerator();
        foreach (var field in fields)
        {
            LoadObject(il, OpCodes.Ldarg_1, type);
            LoadObject(il, OpCodes.Ldarg_0, type);
            il.Emit(OpCodes.Ldfld, field);
            if (!IsSharedMember(field))
            {
                il.Emit(OpCodes.Box, field.FieldType);
                il.Emit(OpCodes.Ldarg_2);
                il.Emit(OpCodes.Call, typeof(DeepCopier).GetMethod(nameof(DeepCopier.CopyPart))!);
                il.Emit(OpCodes.Unbox_Any, field.FieldType);
            }

            il.Emit(OpCodes.Stfld, field);
        }

        il.Emit(OpCodes.Ret);
        var copyFields = method.CreateDelegate<Action<object, object, CopyContext>>();
        var create = Creator(type);
        bool isReference = !type.IsValueType;
        return (source, context) =>
        {
            object copy = create();
            if (isReference)
            {
                context.Add(source, copy);
            }

            copyFields(source, copy, context);
            return copy;
        };
    }

    private static void LoadObject(ILGenerator il, OpCode argument, Type type)
    {
        il.Emit(argument);
        il.Emit(type.IsValueType ? OpCodes.Unbox : OpCodes.Castclass, type);
    }

    private static Func<object> Creator(Type type)
    {
        var constructor = type.IsValueType ? null : type.GetConstructor(BindingFlags.Instance | BindingFlags.Public, []);
        return constructor is null ? () => RuntimeHelpers.GetUninitializedObject(type) : () => Activator.CreateInstance(type)!;
    }

    private static IEnumerable<FieldInfo> MembersOf(Type type)
    {
        foreach (var field in type.GetFields(Declared))
        {
            if (field.IsDefined(typeof(IdAttribute)))
            {
                yield return field;
            }
        }

        var primary = PrimaryConstructorNames(type);
        foreach (var property in type.GetProperties(Declared))
        {
            if (property.IsDefined(typeof(IdAttribute)) || primary.Contains(property.Name))
            {
                yield return type.GetField($"<{property.Name}>k__BackingField", Declared)
                    ?? throw new CodecNotFoundException(
                        $"Could not find a copier for {type}.{property.Name}: a member with [Id] is a field or an automatic property.");
            }
        }
    }

    // A record has a method <Clone>$ (classes) or PrintMembers (both); its primary constructor is the one whose parameters are all properties.
    private static HashSet<string> PrimaryConstructorNames(Type type)
    {
        var includes = type.GetCustomAttribute<GenerateSerializerAttribute>()!.IncludePrimaryConstructorParameters;
        if (!includes || type.GetMethod("PrintMembers", Declared) is null)
        {
            return [];
        }

        var properties = type.GetProperties(Declared).ToDictionary(p => p.Name, p => p.PropertyType, StringComparer.Ordinal);
        var primary = type.GetConstructors(Declared)
            .Select(c => c.GetParameters())
            .Where(ps => ps.Length > 0 && Array.TrueForAll(
                ps, p => properties.TryGetValue(p.Name!, out var propertyType) && propertyType == p.ParameterType))
            .MaxBy(ps => ps.Length);
        return primary is null ? [] : primary.Select(p => p.Name!).ToHashSet(StringComparer.Ordinal);
    }

    private static bool IsSharedMember(FieldInfo field) =>
        IsMarkedImmutable(field) || DeepCopier.IsShared(field.FieldType);

    private static bool IsMarkedImmutable(FieldInfo field)
    {
        if (field.IsDefined(typeof(ImmutableAttribute)))
        {
            return true;
        }

        const string suffix = ">k__BackingField";
        return field.Name.EndsWith(suffix, StringComparison.Ordinal)
            && field.DeclaringType!.GetProperty(field.Name[1..^suffix.Length], Declared)?.IsDefined(typeof(ImmutableAttribute)) == true;
    }

    private static int AllFields(Type type) =>
        type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic).Length;
}
