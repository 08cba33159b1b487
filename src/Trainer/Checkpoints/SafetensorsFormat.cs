namespace DarkMatter.Trainer.Checkpoints;

/// <summary>Element types of the safetensors format. The names in the file are given by <see cref="SafetensorsTypes"/>.</summary>
public enum SafetensorsType
{
    /// <summary><c>BOOL</c>, one byte.</summary>
    Bool = 0,

    /// <summary><c>U8</c>.</summary>
    UInt8 = 1,

    /// <summary><c>I8</c>.</summary>
    Int8 = 2,

    /// <summary><c>I16</c>.</summary>
    Int16 = 3,

    /// <summary><c>U16</c>.</summary>
    UInt16 = 4,

    /// <summary><c>F16</c>.</summary>
    Float16 = 5,

    /// <summary><c>BF16</c>.</summary>
    BFloat16 = 6,

    /// <summary><c>I32</c>.</summary>
    Int32 = 7,

    /// <summary><c>U32</c>.</summary>
    UInt32 = 8,

    /// <summary><c>F32</c>.</summary>
    Float32 = 9,

    /// <summary><c>F64</c>.</summary>
    Float64 = 10,

    /// <summary><c>I64</c>.</summary>
    Int64 = 11,

    /// <summary><c>U64</c>.</summary>
    UInt64 = 12,
}

/// <summary>Names and sizes of the element types. Source: the safetensors README, "Format", and its Rust <c>Dtype</c>.</summary>
public static class SafetensorsTypes
{
    private static readonly (SafetensorsType Type, string Name, int Bytes)[] Table =
    [
        (SafetensorsType.Bool, "BOOL", 1), (SafetensorsType.UInt8, "U8", 1), (SafetensorsType.Int8, "I8", 1),
        (SafetensorsType.Int16, "I16", 2), (SafetensorsType.UInt16, "U16", 2), (SafetensorsType.Float16, "F16", 2),
        (SafetensorsType.BFloat16, "BF16", 2), (SafetensorsType.Int32, "I32", 4), (SafetensorsType.UInt32, "U32", 4),
        (SafetensorsType.Float32, "F32", 4), (SafetensorsType.Float64, "F64", 8), (SafetensorsType.Int64, "I64", 8),
        (SafetensorsType.UInt64, "U64", 8),
    ];

    /// <summary>The type's name in a file's header.</summary>
    public static string Name(this SafetensorsType type) => Table[(int)type].Name;

    /// <summary>Bytes of one element.</summary>
    public static int ElementBytes(this SafetensorsType type) => Table[(int)type].Bytes;

    /// <summary>The type of a header's name, if it is one.</summary>
    public static bool TryParse(string name, out SafetensorsType type)
    {
        var index = Array.FindIndex(Table, row => row.Name == name);
        type = index < 0 ? default : Table[index].Type;
        return index >= 0;
    }
}

/// <summary>What is wrong with a safetensors file; one value for each kind of malformed input.</summary>
public enum SafetensorsError
{
    /// <summary>Fewer than the 8 bytes that give the header's length.</summary>
    HeaderTooSmall = 0,

    /// <summary>The header claims more than <see cref="SafetensorsReader.MaxHeaderBytes"/>.</summary>
    HeaderTooLarge = 1,

    /// <summary>The header claims to end behind the file's end.</summary>
    HeaderTruncated = 2,

    /// <summary>The header does not begin with <c>{</c>.</summary>
    InvalidHeaderStart = 3,

    /// <summary>The header is not UTF-8 JSON of the form the format asks for.</summary>
    InvalidHeader = 4,

    /// <summary>Two tensors have one name.</summary>
    DuplicateName = 5,

    /// <summary>An element type the format does not have.</summary>
    UnknownType = 6,

    /// <summary>A negative dimension, or a number of elements beyond 2⁶³.</summary>
    InvalidShape = 7,

    /// <summary>Offsets that are negative, reversed or behind the file's end.</summary>
    InvalidOffsets = 8,

    /// <summary>Offsets that do not span what type and shape need.</summary>
    SizeMismatch = 9,

    /// <summary>Two tensors share bytes.</summary>
    OverlappingOffsets = 10,

    /// <summary>Bytes that belong to no tensor, between two of them or at the end.</summary>
    HoleInOffsets = 11,

    /// <summary>The file ends before the last tensor does.</summary>
    Truncated = 12,

    /// <summary>No tensor of the name that was asked for.</summary>
    TensorNotFound = 13,

    /// <summary>The memory to read into has another size than the tensor.</summary>
    WrongDestination = 14,
}

/// <summary>A file is not what the safetensors format asks for. The message names the file, the tensor and what to do.</summary>
public sealed class SafetensorsException(SafetensorsError error, string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Which rule the file breaks.</summary>
    public SafetensorsError Error { get; } = error;
}

/// <summary>Where one tensor lies in a file.</summary>
/// <param name="Name">Its name, unique in the file.</param>
/// <param name="Type">Its element type.</param>
/// <param name="Shape">Its dimensions; none for a scalar. Elements lie in row-major order.</param>
/// <param name="Offset">First byte, counted from the start of the file.</param>
/// <param name="Bytes">Length in bytes.</param>
public sealed record SafetensorsEntry(string Name, SafetensorsType Type, IReadOnlyList<long> Shape, long Offset, long Bytes);
