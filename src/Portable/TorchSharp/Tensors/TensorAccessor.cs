using System.Collections;
using TorchSharp.Native;

namespace TorchSharp.Utils;

/// <summary>Reads and writes a tensor's elements in place, whatever its strides.</summary>
public sealed unsafe class TensorAccessor<T> : IEnumerable<T>, IDisposable where T : unmanaged
{
    private readonly torch.Tensor tensor;
    private readonly T* start;
    private readonly long[] sizes;
    private readonly long[] strides;

    internal TensorAccessor(torch.Tensor tensor)
    {
        this.tensor = tensor;
        start = (T*)Shim.Data(tensor.Handle);
        (sizes, strides) = (tensor.shape, tensor.stride());
    }

    public long Count => tensor.NumberOfElements;

    /// <summary>An element by its index; with one number on a tensor of any rank, by its place in row-major order.</summary>
    public T this[params long[] indices]
    {
        get => start[Offset(indices)];
        set => start[Offset(indices)] = value;
    }

    public T[] ToArray()
    {
        var array = new T[Count];
        CopyTo(array);
        return array;
    }

    public void CopyTo(T[] array, int arrayIndex = 0, long tensorIndex = 0) => CopyTo(array.AsSpan(), arrayIndex, tensorIndex);

    public void CopyTo(Span<T> array, int arrayIndex = 0, long tensorIndex = 0)
    {
        var count = (int)Math.Min(array.Length - arrayIndex, Count - tensorIndex);
        if (tensor.is_contiguous()) new Span<T>(start + tensorIndex, count).CopyTo(array[arrayIndex..]);
        else for (var i = 0; i < count; i++) array[arrayIndex + i] = start[Offset(tensorIndex + i)];
    }

    public void CopyFrom(T[] array, int arrayIndex = 0, long tensorIndex = 0) => CopyFrom(array.AsSpan(), arrayIndex, tensorIndex);

    public void CopyFrom(ReadOnlySpan<T> array, int arrayIndex = 0, long tensorIndex = 0)
    {
        var count = (int)Math.Min(array.Length - arrayIndex, Count - tensorIndex);
        if (tensor.is_contiguous()) array.Slice(arrayIndex, count).CopyTo(new(start + tensorIndex, count));
        else for (var i = 0; i < count; i++) start[Offset(tensorIndex + i)] = array[arrayIndex + i];
    }

    public IEnumerator<T> GetEnumerator() => ((IEnumerable<T>)ToArray()).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public void Dispose()
    {
    }

    private long Offset(long[] indices)
    {
        if (indices.Length == 1) return Offset(indices[0]);
        if (indices.Length != sizes.Length) throw new ArgumentException($"{indices.Length} indices for a tensor of {sizes.Length} dimensions");
        var offset = 0L;
        for (var i = 0; i < indices.Length; i++)
        {
            if (indices[i] < 0 || indices[i] >= sizes[i]) throw new IndexOutOfRangeException($"index {indices[i]} of dimension {i}, whose size is {sizes[i]}");
            offset += indices[i] * strides[i];
        }
        return offset;
    }

    private long Offset(long index)
    {
        if (index < 0 || index >= Count) throw new IndexOutOfRangeException($"index {index} of a tensor of {Count} elements");
        var offset = 0L;
        for (var i = sizes.Length - 1; i >= 0; i--)
        {
            offset += index % sizes[i] * strides[i];
            index /= sizes[i];
        }
        return offset;
    }
}
