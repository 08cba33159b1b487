using TorchSharp.Native;

namespace TorchSharp;

/// <summary>A number on its way into an operator. Unlike the official one it holds no native memory; disposing it does nothing.</summary>
public sealed class Scalar : IDisposable
{
    private Scalar(Value value) => Value = value;

    internal Value Value { get; }

    internal static Scalar From(Value value) => new(value);

    public static implicit operator Scalar(byte value) => new((long)value);
    public static implicit operator Scalar(sbyte value) => new((long)value);
    public static implicit operator Scalar(short value) => new((long)value);
    public static implicit operator Scalar(int value) => new((long)value);
    public static implicit operator Scalar(long value) => new(value);
    public static implicit operator Scalar(float value) => new((double)value);
    public static implicit operator Scalar(double value) => new(value);
    public static implicit operator Scalar(bool value) => new(value);

    public torch.ScalarType Type => Value.Kind switch
    {
        ValueKind.Bool => torch.ScalarType.Bool,
        ValueKind.Int => torch.ScalarType.Int64,
        _ => torch.ScalarType.Float64,
    };

    public void Dispose()
    {
    }
}

public static class ScalarExtensionMethods
{
    public static Scalar ToScalar(this int value) => value;
    public static Scalar ToScalar(this long value) => value;
    public static Scalar ToScalar(this float value) => value;
    public static Scalar ToScalar(this double value) => value;
    public static Scalar ToScalar(this bool value) => value;

    public static float ToSingle(this Scalar value) => (float)value.Value.Real;
    public static double ToDouble(this Scalar value) => value.Value.Real;
    public static int ToInt32(this Scalar value) => (int)value.Value.Integer;
    public static long ToInt64(this Scalar value) => value.Value.Integer;
    public static byte ToByte(this Scalar value) => (byte)value.Value.Integer;
    public static bool ToBoolean(this Scalar value) => value.Value.Real != 0;
}
