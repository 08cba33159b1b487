using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace TorchSharp.Native;

/// <summary>
/// Calls an ATen operator by its schema's name ("mm", or "add.Tensor" with the overload), arguments in the schema's order, the missing
/// ones at the end by their defaults.
/// </summary>
internal static unsafe class Aten
{
    private static readonly ConcurrentDictionary<string, nint> Operators = new();

    internal static torch.Tensor One(string name, params ReadOnlySpan<Value> arguments)
    {
        NativeValue result;
        var written = Call(name, arguments, &result, 1);
        return new torch.Tensor(written == 1 ? result.Handle(name) : throw Unexpected(name, 1, written));
    }

    internal static (torch.Tensor, torch.Tensor) Two(string name, params ReadOnlySpan<Value> arguments)
    {
        var results = stackalloc NativeValue[2];
        var written = Call(name, arguments, results, 2);
        if (written != 2) throw Unexpected(name, 2, written);
        return (new(results[0].Handle(name)), new(results[1].Handle(name)));
    }

    internal static (torch.Tensor, torch.Tensor, torch.Tensor) Three(string name, params ReadOnlySpan<Value> arguments)
    {
        var results = stackalloc NativeValue[3];
        var written = Call(name, arguments, results, 3);
        if (written != 3) throw Unexpected(name, 3, written);
        return (new(results[0].Handle(name)), new(results[1].Handle(name)), new(results[2].Handle(name)));
    }

    internal static torch.Tensor[] Many(string name, params ReadOnlySpan<Value> arguments)
    {
        const int Room = 8;
        var results = stackalloc NativeValue[Room];
        var written = Call(name, arguments, results, Room);
        var source = written > Room ? (NativeValue*)results[0].Bits : results;
        var tensors = new torch.Tensor[written];
        for (var i = 0; i < tensors.Length; i++) tensors[i] = new(source[i].Handle(name));
        return tensors;
    }

    /// <summary>An operator that changes its first argument and returns it.</summary>
    internal static torch.Tensor Into(string name, torch.Tensor self, params ReadOnlySpan<Value> others)
    {
        var arguments = new ArgumentBuffer();
        arguments[0] = self;
        others.CopyTo(((Span<Value>)arguments)[1..]);
        NativeValue result;
        if (Call(name, ((ReadOnlySpan<Value>)arguments)[..(others.Length + 1)], &result, 1) == 1) Shim.Release((nint)result.Bits);
        return self;
    }

    internal static Value Plain(string name, params ReadOnlySpan<Value> arguments)
    {
        NativeValue result;
        var written = Call(name, arguments, &result, 1);
        return written == 1 ? result.Managed() : throw Unexpected(name, 1, written);
    }

    private static long Call(string name, ReadOnlySpan<Value> arguments, NativeValue* results, int room)
    {
        var op = Operators.TryGetValue(name, out var known) ? known : Operators.GetOrAdd(name, Find(name));
        var native = stackalloc NativeValue[arguments.Length];
        var longs = 0;
        foreach (ref readonly var argument in arguments) longs += argument.Words;
        var words = stackalloc long[longs];
        for (var i = 0; i < arguments.Length; i++) native[i] = arguments[i].ToNative(ref words);
        long written;
        Shim.Check(Shim.Call(op, native, arguments.Length, results, room, &written));
        return written;
    }

    private static nint Find(string name)
    {
        var dot = name.IndexOf('.', StringComparison.Ordinal);
        var bytes = Encoding.UTF8.GetBytes($"aten::{(dot < 0 ? name : name[..dot])}\0{(dot < 0 ? "" : name[(dot + 1)..])}\0");
        nint op;
        fixed (byte* start = bytes) Shim.Check(Shim.Operator(start, start + bytes.AsSpan().IndexOf((byte)0) + 1, &op));
        return op;
    }

    private static InvalidOperationException Unexpected(string name, int wanted, long written) =>
        new($"aten::{name} gave {written} results where {wanted} were expected: the libtorch of this machine is not the one this was written for.");

    [InlineArray(12)]
    private struct ArgumentBuffer
    {
        private Value first;
    }
}

/// <summary>The layout of one argument or result in native/torch/dispatch.cpp.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NativeValue
{
    internal ValueKind Kind;
    internal long Count;
    internal long Bits;

    internal readonly nint Handle(string name) =>
        Kind == ValueKind.Tensor ? (nint)Bits : throw new InvalidOperationException($"aten::{name} gave a {Kind} where a tensor was expected.");

    internal readonly Value Managed() => Kind switch
    {
        ValueKind.Int => Bits,
        ValueKind.Double => BitConverter.Int64BitsToDouble(Bits),
        ValueKind.Bool => Bits != 0,
        _ => throw new InvalidOperationException($"a result of kind {Kind} is not a plain value."),
    };
}

internal enum ValueKind : long
{
    None, Tensor, Int, Double, Bool, IntList, TensorList, OptionalTensorList, String, Default, DoubleList, Device,
}

/// <summary>One argument of an operator; made from what it holds by implicit conversion.</summary>
internal readonly struct Value
{
    private readonly object? reference;
    private readonly long bits;
    private readonly ValueKind kind;

    private Value(ValueKind kind, object? reference, long bits = 0) => (this.kind, this.reference, this.bits) = (kind, reference, bits);

    /// <summary>What the schema says when nothing is given.</summary>
    internal static Value Default { get; } = new(ValueKind.Default, null);
    internal static Value None { get; }

    internal static Value Optional(torch.Tensor?[] tensors) => new(ValueKind.OptionalTensorList, tensors);

    public static implicit operator Value(torch.Tensor? tensor) => tensor is null ? None : new(ValueKind.Tensor, tensor);
    public static implicit operator Value(long value) => new(ValueKind.Int, null, value);
    public static implicit operator Value(int value) => new(ValueKind.Int, null, value);
    public static implicit operator Value(long? value) => value is { } number ? number : None;
    public static implicit operator Value(double value) => new(ValueKind.Double, null, BitConverter.DoubleToInt64Bits(value));
    public static implicit operator Value(double? value) => value is { } number ? number : None;
    public static implicit operator Value(bool value) => new(ValueKind.Bool, null, value ? 1 : 0);
    public static implicit operator Value(long[]? values) => values is null ? None : new(ValueKind.IntList, values);
    public static implicit operator Value(double[]? values) => values is null ? None : new(ValueKind.DoubleList, values);
    public static implicit operator Value(torch.Tensor[] tensors) => new(ValueKind.TensorList, tensors);
    public static implicit operator Value(string? text) => text is null ? None : new(ValueKind.String, Encoding.UTF8.GetBytes(text));
    public static implicit operator Value(torch.ScalarType? type) => type is { } known ? (long)known : None;
    public static implicit operator Value(torch.ScalarType type) => (long)type;
    public static implicit operator Value(torch.Device? device) => device is null ? None : new(ValueKind.Device, device);
    public static implicit operator Value(Scalar? scalar) => scalar is null ? None : scalar.Value;

    internal ValueKind Kind => kind;
    internal long Integer => kind == ValueKind.Double ? (long)BitConverter.Int64BitsToDouble(bits) : bits;
    internal double Real => kind == ValueKind.Double ? BitConverter.Int64BitsToDouble(bits) : bits;

    /// <summary>How many eight-byte words the list behind this argument takes.</summary>
    internal int Words => reference switch
    {
        long[] list => list.Length,
        double[] list => list.Length,
        torch.Tensor[] list => list.Length,
        byte[] text => (text.Length + 7) / 8,
        _ => 0,
    };

    internal unsafe NativeValue ToNative(ref long* words)
    {
        var native = new NativeValue { Kind = kind, Bits = bits };
        var start = words;
        switch (reference)
        {
            case null:
                return native;
            case torch.Tensor tensor:
                native.Bits = tensor.Handle;
                return native;
            case torch.Device device:
                native.Bits = (long)device.type;
                native.Count = device.index;
                return native;
            case long[] list:
                list.CopyTo(new Span<long>(start, list.Length));
                native.Count = list.Length;
                break;
            case double[] list:
                list.CopyTo(new Span<double>(start, list.Length));
                native.Count = list.Length;
                break;
            case torch.Tensor?[] list:
                for (var i = 0; i < list.Length; i++) start[i] = list[i]?.Handle ?? 0;
                native.Count = list.Length;
                break;
            case byte[] text:
                text.CopyTo(new Span<byte>(start, text.Length));
                native.Count = text.Length;
                break;
        }
        words += Words;
        native.Bits = (long)start;
        return native;
    }
}
