using System.Buffers;

namespace DarkMatter.Trainer.Collectives;

/// <summary>A caller's span as memory. Valid only while the caller holds it in place, which a blocking call does.</summary>
internal sealed unsafe class PinnedBytes(byte* pointer, int length) : MemoryManager<byte>
{
    public override Span<byte> GetSpan() => new(pointer, length);

    public override MemoryHandle Pin(int elementIndex = 0) => new(pointer + elementIndex);

    public override void Unpin()
    {
    }

    protected override void Dispose(bool disposing)
    {
    }
}

/// <summary>A background buffer of floats as bytes.</summary>
internal sealed class FloatBytes(Memory<float> floats) : MemoryManager<byte>
{
    public override Span<byte> GetSpan() => System.Runtime.InteropServices.MemoryMarshal.AsBytes(floats.Span);

    public override MemoryHandle Pin(int elementIndex = 0) =>
        throw new NotSupportedException("Only the span of these bytes is used.");

    public override void Unpin()
    {
    }

    protected override void Dispose(bool disposing)
    {
    }
}
