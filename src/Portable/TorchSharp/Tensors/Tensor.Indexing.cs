using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    // Choosing elements by number, range, mask or tensor.
    public partial class Tensor
    {
        public Tensor this[long i1]
        {
            get => select(0, i1);
            set => Assign([i1], value);
        }

        public Tensor this[long i1, long i2]
        {
            get => this[TensorIndex.Single(i1), TensorIndex.Single(i2)];
            set => Assign([i1, i2], value);
        }

        public Tensor this[params TensorIndex[] indices]
        {
            get => index(indices);
            set => Assign(indices, value);
        }

        /// <summary>Elements by tensors of numbers or masks, one per dimension from the first; null takes the whole dimension.</summary>
        public Tensor this[params Tensor[] indices]
        {
            get => index(indices);
            set => index_put_(value, indices);
        }

        public Tensor index(params Tensor[] indices) => Aten.One("index.Tensor", this, Value.Optional(indices));

        public Tensor index(params TensorIndex[] indices)
        {
            var (view, tensors) = Narrowed(indices);
            if (tensors is null) return view;
            using (view) return Aten.One("index.Tensor", view, Value.Optional(tensors));
        }

        public Tensor index_put_(Tensor value, params Tensor[] indices) =>
            Aten.Into("index_put_", this, Value.Optional(indices), value, false);

        public Tensor index_put_(Tensor value, params TensorIndex[] indices)
        {
            Assign(indices, value);
            return this;
        }

        public Tensor index_select(long dim, Tensor index) => Aten.One("index_select", this, dim, index);
        public Tensor index_add_(long dim, Tensor index, Tensor source, Scalar alpha) => Aten.Into("index_add_", this, dim, index, source, alpha);
        public Tensor index_copy_(long dim, Tensor index, Tensor source) => Aten.Into("index_copy_", this, dim, index, source);
        public Tensor gather(long dim, Tensor index) => Aten.One("gather", this, dim, index);
        public Tensor scatter(long dim, Tensor index, Tensor src) => Aten.One("scatter.src", this, dim, index, src);
        public Tensor scatter_(long dim, Tensor index, Tensor src) => Aten.Into("scatter_.src", this, dim, index, src);
        public Tensor scatter_add(long dim, Tensor index, Tensor src) => Aten.One("scatter_add", this, dim, index, src);
        public Tensor scatter_add_(long dim, Tensor index, Tensor src) => Aten.Into("scatter_add_", this, dim, index, src);

        private void Assign(TensorIndex[] indices, Tensor value)
        {
            var (view, tensors) = Narrowed(indices);
            using (view)
            {
                if (tensors is null) view.copy_(value);
                else Aten.Into("index_put_", view, Value.Optional(tensors), value, false);
            }
        }

        /// <summary>Applies the numbers, ranges and new axes; what is left are tensors, or null if there are none.</summary>
        private (Tensor View, Tensor?[]? Tensors) Narrowed(TensorIndex[] indices)
        {
            var consumed = indices.Count(index => index.kind is TensorIndex.Kind.Single or TensorIndex.Kind.Slice or TensorIndex.Kind.Tensor);
            var tensors = new List<Tensor?>();
            var view = alias();
            var dimension = 0;
            foreach (var index in indices)
            {
                var before = view;
                switch (index.kind)
                {
                    case TensorIndex.Kind.Single:
                        view = view.select(dimension, index.start ?? 0);
                        break;
                    case TensorIndex.Kind.Slice:
                        view = Aten.One("slice.Tensor", view, dimension++, index.start, index.stop, index.step ?? 1);
                        break;
                    case TensorIndex.Kind.Null or TensorIndex.Kind.None:
                        view = view.unsqueeze(dimension++);
                        break;
                    case TensorIndex.Kind.Ellipsis:
                        dimension += (int)Dimensions - consumed;
                        break;
                    case TensorIndex.Kind.Tensor:
                        while (tensors.Count < dimension) tensors.Add(null);
                        tensors.Add(index.tensor);
                        dimension += index.tensor!.dtype == ScalarType.Bool ? (int)index.tensor.Dimensions : 1;
                        break;
                }
                if (!ReferenceEquals(before, view)) before.Dispose();
            }
            return (view, tensors.Count == 0 ? null : [.. tensors]);
        }
    }

    /// <summary>One index of a tensor expression: a number, a range, a tensor, a new axis or an ellipsis.</summary>
    public struct TensorIndex
    {
        internal enum Kind
        {
            None, Single, Null, Ellipsis, Tensor, Slice,
        }

        internal Kind kind;
        internal long? start;
        internal long? stop;
        internal long? step;
        internal Tensor? tensor;

        public static readonly TensorIndex Ellipsis = new() { kind = Kind.Ellipsis };
        public static readonly TensorIndex None = new() { kind = Kind.None };
        public static readonly TensorIndex Null = new() { kind = Kind.Null };
        public static readonly TensorIndex Colon = Slice();

        public static TensorIndex Slice(long? start = null, long? stop = null, long? step = null) =>
            new() { kind = Kind.Slice, start = start, stop = stop, step = step };

        public static TensorIndex Slice(Range range) => Slice(
            range.Start.IsFromEnd ? -range.Start.Value : range.Start.Value,
            range.End.IsFromEnd ? (range.End.Value == 0 ? null : -range.End.Value) : range.End.Value);

        public static TensorIndex Single(long? index) => new() { kind = Kind.Single, start = index };

        public static TensorIndex Tensor(Tensor tensor) => new() { kind = Kind.Tensor, tensor = tensor };

        public static implicit operator TensorIndex(long value) => Single(value);
        public static implicit operator TensorIndex(Range range) => Slice(range);
        public static implicit operator TensorIndex(Index index) => Single(index.IsFromEnd ? -index.Value : index.Value);
    }
}
