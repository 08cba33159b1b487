using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    // Comparisons and the masks they make.
    public partial class Tensor
    {
        public Tensor eq(Tensor target) => Aten.One("eq.Tensor", this, target);
        public Tensor eq(Scalar target) => Aten.One("eq.Scalar", this, target);
        public Tensor ne(Tensor target) => Aten.One("ne.Tensor", this, target);
        public Tensor ne(Scalar target) => Aten.One("ne.Scalar", this, target);
        public Tensor lt(Tensor target) => Aten.One("lt.Tensor", this, target);
        public Tensor lt(Scalar target) => Aten.One("lt.Scalar", this, target);
        public Tensor le(Tensor target) => Aten.One("le.Tensor", this, target);
        public Tensor le(Scalar target) => Aten.One("le.Scalar", this, target);
        public Tensor gt(Tensor target) => Aten.One("gt.Tensor", this, target);
        public Tensor gt(Scalar target) => Aten.One("gt.Scalar", this, target);
        public Tensor ge(Tensor target) => Aten.One("ge.Tensor", this, target);
        public Tensor ge(Scalar target) => Aten.One("ge.Scalar", this, target);

        public static Tensor operator ==(Tensor left, Tensor right) => left.eq(right);
        public static Tensor operator ==(Tensor left, Scalar right) => left.eq(right);
        public static Tensor operator ==(Scalar left, Tensor right) => right.eq(left);
        public static Tensor operator !=(Tensor left, Tensor right) => left.ne(right);
        public static Tensor operator !=(Tensor left, Scalar right) => left.ne(right);
        public static Tensor operator !=(Scalar left, Tensor right) => right.ne(left);
        public static Tensor operator <(Tensor left, Tensor right) => left.lt(right);
        public static Tensor operator <(Tensor left, Scalar right) => left.lt(right);
        public static Tensor operator <(Scalar left, Tensor right) => right.gt(left);
        public static Tensor operator <=(Tensor left, Tensor right) => left.le(right);
        public static Tensor operator <=(Tensor left, Scalar right) => left.le(right);
        public static Tensor operator <=(Scalar left, Tensor right) => right.ge(left);
        public static Tensor operator >(Tensor left, Tensor right) => left.gt(right);
        public static Tensor operator >(Tensor left, Scalar right) => left.gt(right);
        public static Tensor operator >(Scalar left, Tensor right) => right.lt(left);
        public static Tensor operator >=(Tensor left, Tensor right) => left.ge(right);
        public static Tensor operator >=(Tensor left, Scalar right) => left.ge(right);
        public static Tensor operator >=(Scalar left, Tensor right) => right.le(left);

        public override bool Equals(object? obj) => ReferenceEquals(this, obj);
        public override int GetHashCode() => base.GetHashCode();

        public Tensor logical_and(Tensor other) => Aten.One("logical_and", this, other);
        public Tensor logical_or(Tensor other) => Aten.One("logical_or", this, other);
        public Tensor logical_not() => Aten.One("logical_not", this);
        public Tensor isfinite() => Aten.One("isfinite", this);
        public Tensor isnan() => Aten.One("isnan", this);
        public Tensor isinf() => Aten.One("isinf", this);
        public Tensor all() => Aten.One("all", this);
        public Tensor all(long dim, bool keepdim = false) => Aten.One("all.dim", this, dim, keepdim);
        public Tensor any() => Aten.One("any", this);
        public Tensor any(long dim, bool keepdim = false) => Aten.One("any.dim", this, dim, keepdim);

        public bool allclose(Tensor target, double rtol = 1e-05, double atol = 1e-08, bool equal_nan = false) =>
            Aten.Plain("allclose", this, target, rtol, atol, equal_nan).Integer != 0;

        /// <summary>Where <paramref name="condition"/> holds this tensor's element, elsewhere <paramref name="y"/>'s.</summary>
        public Tensor where(Tensor condition, Tensor y) => Aten.One("where.self", condition, this, y);

        public Tensor masked_fill(Tensor mask, Scalar value) => Aten.One("masked_fill.Scalar", this, mask, value);
        public Tensor masked_fill_(Tensor mask, Scalar value) => Aten.Into("masked_fill_.Scalar", this, mask, value);
        public Tensor masked_select(Tensor mask) => Aten.One("masked_select", this, mask);
        public Tensor nonzero() => Aten.One("nonzero", this);
    }
}
