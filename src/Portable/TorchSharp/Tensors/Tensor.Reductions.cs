using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    // Many elements to few.
    public partial class Tensor
    {
        public Tensor sum(ScalarType? type = null) => Aten.One("sum", this, type);
        public Tensor sum(long dim, bool keepdim = false, ScalarType? type = null) => Aten.One("sum.dim_IntList", this, new[] { dim }, keepdim, type);
        public Tensor sum(long[] dim, bool keepdim = false, ScalarType? type = null) => Aten.One("sum.dim_IntList", this, dim, keepdim, type);
        public Tensor mean() => Aten.One("mean", this);
        public Tensor mean(long[] dimensions, bool keepdim = false, ScalarType? type = null) => Aten.One("mean.dim", this, dimensions, keepdim, type);
        public Tensor std(bool unbiased = true) => Aten.One("std", this, unbiased);
        public Tensor std(long dim, bool unbiased = true, bool keepdim = false, ScalarType? type = null) => std([dim], unbiased, keepdim, type);
        public Tensor std(long[] dimensions, bool unbiased = true, bool keepdim = false, ScalarType? type = null) =>
            Aten.One("std.dim", type is { } known ? to_type(known) : this, dimensions, unbiased, keepdim);
        public Tensor var(bool unbiased = true) => Aten.One("var", this, unbiased);
        public Tensor var(long dim, bool unbiased = true, bool keepdim = false, ScalarType? type = null) => var([dim], unbiased, keepdim, type);
        public Tensor var(long[] dimensions, bool unbiased = true, bool keepdim = false, ScalarType? type = null) =>
            Aten.One("var.dim", type is { } known ? to_type(known) : this, dimensions, unbiased, keepdim);
        public Tensor prod(ScalarType? type = null) => Aten.One("prod", this, type);
        public Tensor max() => Aten.One("max", this);
        public Tensor max(Tensor other) => Aten.One("max.other", this, other);
        public (Tensor values, Tensor indexes) max(long dim, bool keepdim = false) => Aten.Two("max.dim", this, dim, keepdim);
        public Tensor min() => Aten.One("min", this);
        public Tensor min(Tensor other) => Aten.One("min.other", this, other);
        public (Tensor values, Tensor indexes) min(long dim, bool keepdim = false) => Aten.Two("min.dim", this, dim, keepdim);
        public Tensor amax(params long[] dims) => Aten.One("amax", this, dims);
        public Tensor amin(params long[] dims) => Aten.One("amin", this, dims);
        public Tensor argmax() => Aten.One("argmax", this);
        public Tensor argmax(long dim, bool keepdim = false) => Aten.One("argmax", this, dim, keepdim);
        public Tensor argmin() => Aten.One("argmin", this);
        public Tensor argmin(long dim, bool keepdim = false) => Aten.One("argmin", this, dim, keepdim);
        public Tensor argsort(long dim = -1, bool descending = false) => Aten.One("argsort", this, dim, descending);
        public (Tensor Values, Tensor Indices) sort(long dim = -1, bool descending = false, bool stable = false) =>
            Aten.Two("sort.stable", this, stable, dim, descending);
        public (Tensor values, Tensor indexes) topk(int k, int dim = -1, bool largest = true, bool sorted = true) =>
            Aten.Two("topk", this, k, dim, largest, sorted);
        public Tensor norm(float p = 2.0f) => Aten.One("norm.Scalar", this, (double)p);
        public Tensor norm(int dim, bool keepdim = false, float p = 2.0f) => Aten.One("norm.ScalarOpt_dim", this, (double)p, new long[] { dim }, keepdim);
        public Tensor bincount(Tensor? weights, long minlength = 0) => Aten.One("bincount", this, weights, minlength);
        public Tensor trace() => Aten.One("trace", this);
        public Tensor median() => Aten.One("median", this);
    }
}
