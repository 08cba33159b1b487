using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    // Shape, order, copies and types.
    public partial class Tensor
    {
        public Tensor T => Aten.One("numpy_T", this);

        public Tensor view(params long[] shape) => Aten.One("view", this, shape);
        public Tensor view_as(Tensor other) => Aten.One("view_as", this, other);
        public Tensor reshape(params long[] shape) => Aten.One("reshape", this, shape);
        public Tensor flatten(long start_dim = 0, long end_dim = -1) => Aten.One("flatten.using_ints", this, start_dim, end_dim);
        public Tensor squeeze(long? dim = null) => dim is { } known ? Aten.One("squeeze.dim", this, known) : Aten.One("squeeze", this);
        public Tensor unsqueeze(long dim) => Aten.One("unsqueeze", this, dim);
        public Tensor t() => Aten.One("t", this);
        public Tensor transpose(long dim0, long dim1) => Aten.One("transpose.int", this, dim0, dim1);
        public Tensor permute(params long[] permutation) => Aten.One("permute", this, permutation);
        public Tensor expand(params long[] sizes) => Aten.One("expand", this, sizes);
        public Tensor expand_as(Tensor other) => expand(other.shape);
        public Tensor repeat(params long[] sizes) => Aten.One("repeat", this, sizes);
        public Tensor repeat_interleave(long repeats, long? dim = null, long? output_size = null) =>
            Aten.One("repeat_interleave.self_int", this, repeats, dim, output_size);
        public Tensor as_strided(long[] size, long[] strides, long storageOffset = 0L) => Aten.One("as_strided", this, size, strides, storageOffset);
        public Tensor narrow(long dim, long start, long length) => Aten.One("narrow", this, dim, start, length);
        public Tensor slice(long dim, long start, long finish, long step) => Aten.One("slice.Tensor", this, dim, start, finish, step);
        public Tensor select(long dim, long index) => Aten.One("select.int", this, dim, index);
        public Tensor flip(params long[] dims) => Aten.One("flip", this, dims);
        public Tensor roll(long shifts, long? dims = null) => Aten.One("roll", this, new[] { shifts }, dims is { } dim ? [dim] : Array.Empty<long>());
        public Tensor diagonal(long offset = 0L, long dim1 = 0L, long dim2 = 1L) => Aten.One("diagonal", this, offset, dim1, dim2);
        public Tensor diag(long diagonal = 0) => Aten.One("diag", this, diagonal);
        public Tensor tril(long diagonal = 0) => Aten.One("tril", this, diagonal);
        public Tensor triu(long diagonal = 0) => Aten.One("triu", this, diagonal);
        public Tensor[] chunk(long chunks, long dim = 0L) => Aten.Many("chunk", this, chunks, dim);
        public Tensor[] split(long size, int dim = 0) => Aten.Many("split.Tensor", this, size, dim);
        public Tensor[] split(long[] sizes, long dim = 0) => Aten.Many("split_with_sizes", this, sizes, dim);
        public Tensor[] unbind(long dimension = 0L) => Aten.Many("unbind.int", this, dimension);

        public Tensor clone() => Aten.One("clone", this);
        public Tensor contiguous() => Aten.One("contiguous", this);
        public Tensor copy_(Tensor source, bool nonBlocking = false) => Aten.Into("copy_", this, source, nonBlocking);
        public Tensor set_(Tensor source) => Aten.Into("set_.source_Tensor", this, source);

        public Tensor to_type(ScalarType type, bool copy = false, bool disposeAfter = false, bool non_blocking = false)
        {
            var result = Aten.One("to.dtype", this, type, non_blocking, copy);
            if (disposeAfter) Dispose();
            return result;
        }

        public Tensor to(ScalarType type, bool copy = false, bool disposeAfter = false, bool non_blocking = false) =>
            to_type(type, copy, disposeAfter, non_blocking);

        public Tensor to(Device device, bool copy = false, bool disposeAfter = false, bool non_blocking = false) =>
            to(dtype, device, copy, disposeAfter, non_blocking);

        public Tensor to(ScalarType type, Device device, bool copy = false, bool disposeAfter = false, bool non_blocking = false)
        {
            var result = Aten.One("to.device", this, device, type, non_blocking, copy);
            if (disposeAfter) Dispose();
            return result;
        }

        public Tensor to(Tensor other, bool non_blocking = false) => to(other.dtype, other.device, non_blocking: non_blocking);
        public Tensor type_as(Tensor tensor) => to_type(tensor.dtype);
        public Tensor cpu() => to(CPU);
        public Tensor bfloat16() => to_type(ScalarType.BFloat16);

        public Tensor zeros_like(ScalarType? dtype = null, Device? device = null, bool requires_grad = false) => Like("zeros_like", dtype, device, requires_grad);
        public Tensor ones_like(ScalarType? dtype = null, Device? device = null, bool requires_grad = false) => Like("ones_like", dtype, device, requires_grad);
        public Tensor empty_like(ScalarType? dtype = null, Device? device = null, bool requires_grad = false) => Like("empty_like", dtype, device, requires_grad);
        public Tensor randn_like(ScalarType? dtype = null, Device? device = null, bool requires_grad = false) => Like("randn_like", dtype, device, requires_grad);
        public Tensor rand_like(ScalarType? dtype = null, Device? device = null, bool requires_grad = false) => Like("rand_like", dtype, device, requires_grad);

        private Tensor Like(string op, ScalarType? dtype, Device? device, bool requires_grad) =>
            Aten.One(op, this, dtype, Value.None, device).requires_grad_(requires_grad);
    }
}
