using System.Reflection;

namespace Orleans.Runtime;

/// <summary>A proxy: implements the grain interface and turns each call into a <see cref="GrainCall"/>.</summary>
public class GrainReference : DispatchProxy, IAddressable, IEquatable<GrainReference>
{
    public GrainId GrainId { get; private set; }

    internal Silo Silo { get; private set; } = null!;

    internal static object Create(Type interfaceType, GrainId id, Silo silo)
    {
        object proxy = Create(interfaceType, typeof(GrainReference));
        var reference = (GrainReference)proxy;
        reference.GrainId = id;
        reference.Silo = silo;
        return proxy;
    }

    public bool Equals(GrainReference? other) => other is not null && GrainId == other.GrainId;

    public override bool Equals(object? obj) => obj is GrainReference other && Equals(other);

    public override int GetHashCode() => GrainId.GetHashCode();

    public override string ToString() => $"GrainReference:{GrainId}";

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) =>
        GrainMethod.Of(targetMethod!).Call(this, args ?? []);
}
