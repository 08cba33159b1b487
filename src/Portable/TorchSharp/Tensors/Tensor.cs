using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>An owned reference to a libtorch tensor. Dispose it, or make it inside a <see cref="DisposeScope"/>.</summary>
    public partial class Tensor : IDisposable
    {
        private static long totalCount;
        private static long peakCount;

        internal nint handle;

        internal Tensor(nint handle, bool register = true)
        {
            this.handle = handle;
            var count = Interlocked.Increment(ref totalCount);
            if (count > peakCount) peakCount = count;
            if (register) OwningDisposeScope = DisposeScopeManager.ThreadSingleton.Created(this);
        }

        /// <summary>The safety net under a forgotten Dispose.</summary>
        ~Tensor() => Dispose(false);

        /// <summary>The managed tensors that hold a native one, in the whole process.</summary>
        public static long TotalCount => Interlocked.Read(ref totalCount);

        public static long PeakCount => Interlocked.Read(ref peakCount);

        public string? name { get; set; }

        /// <summary>Whether the tensor was disposed.</summary>
        public bool IsInvalid => handle == 0;

        public nint Handle => handle != 0 ? handle : throw new InvalidOperationException("Tensor invalid -- empty handle.");

        public long Dimensions => Shim.Dim(Handle);
        public long ndim => Shim.Dim(Handle);
        public long NumberOfElements => Shim.Numel(Handle);
        public long ElementSize => Shim.ItemSize(Handle);
        public ScalarType dtype => (ScalarType)Shim.DType(Handle);
        public DeviceType device_type => device.type;
        public int device_index => device.index;
        public bool is_leaf => Shim.IsLeaf(Handle) != 0;

        public unsafe Device device
        {
            get
            {
                int index;
                var type = Shim.Device(Handle, &index);
                return type == 0 ? CPU : new((DeviceType)type, index);
            }
        }

        public unsafe long[] shape
        {
            get
            {
                var sizes = new long[Dimensions];
                fixed (long* start = sizes) Shim.Sizes(Handle, start);
                return sizes;
            }
        }

        public bool requires_grad
        {
            get => Shim.RequiresGrad(Handle) != 0;
            set => Shim.Check(Shim.SetRequiresGrad(Handle, value ? 1 : 0));
        }

        /// <summary>The accumulated gradient, shared with the native side, or null. What is set must have this tensor's shape and dtype.</summary>
        public Tensor? grad
        {
            get => Shim.Grad(Handle) is var found and not 0 ? new(found) : null;
            set => Shim.Check(Shim.SetGrad(Handle, value?.Handle ?? 0));
        }

        internal DisposeScope? OwningDisposeScope { get; set; }

        public long dim() => Dimensions;
        public long numel() => NumberOfElements;
        public long element_size() => ElementSize;
        public long storage_offset() => Shim.StorageOffset(Handle);
        public bool is_contiguous() => Shim.IsContiguous(Handle) != 0;
        public bool is_cpu() => device_type == DeviceType.CPU;
        public bool is_floating_point() => torch.is_floating_point(dtype);
        public bool is_integral() => torch.is_integral(dtype);
        public long[] size() => shape;
        public long size(int dim) => shape[dim < 0 ? (int)Dimensions + dim : dim];
        public long stride(int dim) => stride()[dim < 0 ? (int)Dimensions + dim : dim];

        public unsafe long[] stride()
        {
            var strides = new long[Dimensions];
            fixed (long* start = strides) Shim.Strides(Handle, start);
            return strides;
        }

        public Tensor requires_grad_(bool requires_grad = true)
        {
            this.requires_grad = requires_grad;
            return this;
        }

        public Tensor with_requires_grad(bool requires_grad = true) => requires_grad_(requires_grad);

        public void retain_grad() => Shim.Check(Shim.RetainGrad(Handle));

        public Tensor MoveToOuterDisposeScope()
        {
            OwningDisposeScope?.MoveToOuter(this);
            return this;
        }

        public Tensor DetachFromDisposeScope()
        {
            OwningDisposeScope?.Detach(this);
            return this;
        }

        public Tensor MoveToOtherDisposeScope(Tensor other) => MoveToOtherDisposeScope(other.OwningDisposeScope);

        public Tensor MoveToOtherDisposeScope(DisposeScope? other)
        {
            if (OwningDisposeScope is { } scope) scope.MoveToOther(other, this);
            else other?.Attach(this);
            return this;
        }

        public void Dispose()
        {
            Dispose(true);
            GC.SuppressFinalize(this);
        }

        protected virtual void Dispose(bool disposing)
        {
            if (handle == 0) return;
            if (disposing)
            {
                DisposeScopeManager.ThreadSingleton.Disposing(this);
                OwningDisposeScope?.MarkAsDisposed(this);
            }
            Interlocked.Decrement(ref totalCount);
            Shim.Release(handle);
            handle = 0;
        }

        /// <summary>Gives the native tensor away; this object becomes empty.</summary>
        internal nint MoveHandle()
        {
            var moved = Handle;
            handle = 0;
            Interlocked.Decrement(ref totalCount);
            GC.SuppressFinalize(this);
            return moved;
        }

        /// <summary>Takes another tensor's native half; <paramref name="other"/> becomes empty.</summary>
        internal void Become(Tensor other)
        {
            if (other.OwningDisposeScope is { } scope) scope.Detach(other);
            var before = handle;
            handle = other.MoveHandle();
            Shim.Release(before);
        }

        // ---- memory ----------------------------------------------------------------------------------------------------
        /// <summary>Typed access to the elements, in the order of their indices; T must be the element type.</summary>
        public Utils.TensorAccessor<T> data<T>() where T : unmanaged
        {
            if (ToScalarType(typeof(T)) != dtype) throw new ArgumentException($"{typeof(T).Name} is not compatible with {dtype}");
            return new(this);
        }

        public T item<T>() where T : unmanaged
        {
            if (NumberOfElements != 1) throw new ArgumentException("Number of elements in the tensor must be 1");
            return data<T>()[0];
        }

        /// <summary>The bytes of a contiguous tensor, not a copy: valid as long as the tensor is. Setting copies.</summary>
        public unsafe Span<byte> bytes
        {
            get
            {
                if (!is_contiguous()) throw new InvalidOperationException("Bytes() called on non-contiguous tensor.");
                var length = NumberOfElements * ElementSize;
                if (length > int.MaxValue) throw new ArgumentException("Span only supports up to int.MaxValue elements.");
                return new((void*)Shim.Data(Handle), (int)length);
            }
            set
            {
                var target = bytes;
                if (target.Length != value.Length)
                {
                    throw new ArgumentException($"Mismatched data sizes in SetBytes(): the tensor holds {target.Length} bytes, {value.Length} were given.");
                }
                value.CopyTo(target);
            }
        }

        public Scalar ToScalar() => Scalar.From(Aten.Plain("_local_scalar_dense", this));

        public static explicit operator float(Tensor value) => value.ToSingle();
        public static explicit operator double(Tensor value) => value.ToDouble();
        public static explicit operator int(Tensor value) => value.ToInt32();
        public static explicit operator long(Tensor value) => value.ToInt64();
        public static explicit operator bool(Tensor value) => value.ToBoolean();

        public override string ToString() =>
            IsInvalid ? "[disposed]" : $"[{string.Join('x', shape)}], type = {dtype}, device = {device}";

        // ---- autograd --------------------------------------------------------------------------------------------------
        public void backward() => backward(null);

        /// <summary>Accumulates gradients into the leaves. An exception of a managed function or callback on the way arrives here as it was thrown.</summary>
        public void backward(IList<Tensor>? grad_tensors = null, bool retain_graph = false, bool create_graph = false, IList<Tensor>? inputs = null) =>
            autograd.backward([this], grad_tensors, retain_graph, create_graph, inputs);

        public Tensor detach() => Aten.One("detach", this);

        public Tensor detach_()
        {
            Shim.Check(Shim.DetachHistory(Handle));
            return this;
        }

        /// <summary>A second managed tensor for the same native one.</summary>
        public Tensor alias() => new(Shim.Share(Handle));
    }
}

public static partial class TensorExtensionMethods
{
    public static float ToSingle(this torch.Tensor value) => value.ToScalar().ToSingle();
    public static double ToDouble(this torch.Tensor value) => value.ToScalar().ToDouble();
    public static int ToInt32(this torch.Tensor value) => value.ToScalar().ToInt32();
    public static long ToInt64(this torch.Tensor value) => value.ToScalar().ToInt64();
    public static byte ToByte(this torch.Tensor value) => value.ToScalar().ToByte();
    public static bool ToBoolean(this torch.Tensor value) => value.ToScalar().ToBoolean();
}
