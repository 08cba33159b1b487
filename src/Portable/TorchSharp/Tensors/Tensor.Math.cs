using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    // Arithmetic, element by element, and matrix products. A trailing underscore changes the tensor itself.
    public partial class Tensor
    {
        public Tensor abs() => Aten.One("abs", this);
        public Tensor abs_() => Aten.Into("abs_", this);
        public Tensor neg() => Aten.One("neg", this);
        public Tensor neg_() => Aten.Into("neg_", this);
        public Tensor exp() => Aten.One("exp", this);
        public Tensor exp_() => Aten.Into("exp_", this);
        public Tensor expm1() => Aten.One("expm1", this);
        public Tensor expm1_() => Aten.Into("expm1_", this);
        public Tensor log() => Aten.One("log", this);
        public Tensor log_() => Aten.Into("log_", this);
        public Tensor log1p() => Aten.One("log1p", this);
        public Tensor log1p_() => Aten.Into("log1p_", this);
        public Tensor log2() => Aten.One("log2", this);
        public Tensor log2_() => Aten.Into("log2_", this);
        public Tensor sqrt() => Aten.One("sqrt", this);
        public Tensor sqrt_() => Aten.Into("sqrt_", this);
        public Tensor rsqrt() => Aten.One("rsqrt", this);
        public Tensor rsqrt_() => Aten.Into("rsqrt_", this);
        public Tensor reciprocal() => Aten.One("reciprocal", this);
        public Tensor reciprocal_() => Aten.Into("reciprocal_", this);
        public Tensor sin() => Aten.One("sin", this);
        public Tensor sin_() => Aten.Into("sin_", this);
        public Tensor cos() => Aten.One("cos", this);
        public Tensor cos_() => Aten.Into("cos_", this);
        public Tensor tanh() => Aten.One("tanh", this);
        public Tensor tanh_() => Aten.Into("tanh_", this);
        public Tensor sigmoid() => Aten.One("sigmoid", this);
        public Tensor sigmoid_() => Aten.Into("sigmoid_", this);
        public Tensor erf() => Aten.One("erf", this);
        public Tensor erf_() => Aten.Into("erf_", this);
        public Tensor floor() => Aten.One("floor", this);
        public Tensor floor_() => Aten.Into("floor_", this);
        public Tensor ceil() => Aten.One("ceil", this);
        public Tensor ceil_() => Aten.Into("ceil_", this);
        public Tensor round() => Aten.One("round", this);
        public Tensor round_() => Aten.Into("round_", this);
        public Tensor trunc() => Aten.One("trunc", this);
        public Tensor trunc_() => Aten.Into("trunc_", this);
        public Tensor relu() => Aten.One("relu", this);
        public Tensor relu_() => Aten.Into("relu_", this);
        public Tensor sign() => Aten.One("sign", this);
        public Tensor sign_() => Aten.Into("sign_", this);
        public Tensor gelu() => Aten.One("gelu", this);
        public Tensor silu() => Aten.One("silu", this);
        public Tensor square() => pow(2);
        public Tensor negative() => neg();

        public Tensor add(Tensor target) => Aten.One("add.Tensor", this, target);
        public Tensor add(Tensor target, Scalar alpha) => Aten.One("add.Tensor", this, target, alpha);
        public Tensor add(Scalar scalar) => Aten.One("add.Scalar", this, scalar);
        public Tensor add_(Tensor target) => Aten.Into("add_.Tensor", this, target);
        public Tensor add_(Tensor target, Scalar alpha) => Aten.Into("add_.Tensor", this, target, alpha);
        public Tensor add_(Scalar scalar) => Aten.Into("add_.Scalar", this, scalar);
        public Tensor sub(Tensor target) => Aten.One("sub.Tensor", this, target);
        public Tensor sub(Scalar target) => Aten.One("sub.Scalar", this, target);
        public Tensor sub_(Tensor target) => Aten.Into("sub_.Tensor", this, target);
        public Tensor sub_(Scalar target) => Aten.Into("sub_.Scalar", this, target);
        public Tensor mul(Tensor target) => Aten.One("mul.Tensor", this, target);
        public Tensor mul(Scalar target) => Aten.One("mul.Scalar", this, target);
        public Tensor mul_(Tensor target) => Aten.Into("mul_.Tensor", this, target);
        public Tensor mul_(Scalar target) => Aten.Into("mul_.Scalar", this, target);
        public Tensor div(Tensor target) => Aten.One("div.Tensor", this, target);
        public Tensor div(Scalar target) => Aten.One("div.Scalar", this, target);
        public Tensor div_(Tensor target) => Aten.Into("div_.Tensor", this, target);
        public Tensor div_(Scalar target) => Aten.Into("div_.Scalar", this, target);
        public Tensor floor_divide(Tensor other) => Aten.One("floor_divide", this, other);
        public Tensor floor_divide(Scalar other) => Aten.One("floor_divide.Scalar", this, other);
        public Tensor remainder(Tensor target) => Aten.One("remainder.Tensor", this, target);
        public Tensor remainder(Scalar scalar) => Aten.One("remainder.Scalar", this, scalar);
        public Tensor pow(Tensor exponent) => Aten.One("pow.Tensor_Tensor", this, exponent);
        public Tensor pow(Scalar exponent) => Aten.One("pow.Tensor_Scalar", this, exponent);
        public Tensor pow_(Scalar exponent) => Aten.Into("pow_.Scalar", this, exponent);
        public Tensor addcmul(Tensor tensor1, Tensor tensor2, Scalar value) => Aten.One("addcmul", this, tensor1, tensor2, value);
        public Tensor addcmul_(Tensor tensor1, Tensor tensor2, Scalar value) => Aten.Into("addcmul_", this, tensor1, tensor2, value);
        public Tensor addcdiv(Tensor tensor1, Tensor tensor2, Scalar value) => Aten.One("addcdiv", this, tensor1, tensor2, value);
        public Tensor addcdiv_(Tensor tensor1, Tensor tensor2, Scalar value) => Aten.Into("addcdiv_", this, tensor1, tensor2, value);
        public Tensor lerp(Tensor end, Tensor weight) => Aten.One("lerp.Tensor", this, end, weight);
        public Tensor lerp_(Tensor end, Tensor weight) => Aten.Into("lerp_.Tensor", this, end, weight);
        public Tensor clamp(Scalar? min = null, Scalar? max = null) => Aten.One("clamp", this, min, max);
        public Tensor clamp_(Scalar? min = null, Scalar? max = null) => Aten.Into("clamp_", this, min, max);
        public Tensor clamp_min(Scalar min) => Aten.One("clamp_min", this, min);
        public Tensor clamp_max(Scalar max) => Aten.One("clamp_max", this, max);
        public Tensor clamp_min_(Scalar min) => Aten.Into("clamp_min_", this, min);
        public Tensor maximum(Tensor other) => Aten.One("maximum", this, other);
        public Tensor minimum(Tensor other) => Aten.One("minimum", this, other);

        public Tensor mm(Tensor target) => Aten.One("mm", this, target);
        public Tensor bmm(Tensor batch2) => Aten.One("bmm", this, batch2);
        public Tensor matmul(Tensor target) => Aten.One("matmul", this, target);
        public Tensor cholesky_solve(Tensor input2, bool upper = false) => Aten.One("cholesky_solve", this, input2, upper);
        public Tensor mv(Tensor target) => Aten.One("mv", this, target);
        public Tensor dot(Tensor vec2) => Aten.One("dot", this, vec2);
        public Tensor outer(Tensor vec2) => Aten.One("outer", this, vec2);
        public Tensor addmm(Tensor mat1, Tensor mat2, float beta = 1, float alpha = 1) => Aten.One("addmm", this, mat1, mat2, (double)beta, (double)alpha);

        public Tensor softmax(long dim, ScalarType? dtype = null) => Aten.One("softmax.int", this, dim, dtype);
        public Tensor log_softmax(long dim, ScalarType? dtype = null) => Aten.One("log_softmax.int", this, dim, dtype);
        public Tensor logsumexp(long dim, bool keepdim = false) => Aten.One("logsumexp", this, new[] { dim }, keepdim);
        public Tensor cumsum(long dim, ScalarType? type = null) => Aten.One("cumsum", this, dim, type);

        public Tensor zero_() => Aten.Into("zero_", this);
        public Tensor fill_(Scalar value) => Aten.Into("fill_.Scalar", this, value);
        public Tensor normal_(double mean = 0.0, double std = 1.0) => Aten.Into("normal_", this, mean, std);
        public Tensor uniform_(double from, double to) => Aten.Into("uniform_", this, from, to);
        public Tensor bernoulli_(double p = 0.5) => Aten.Into("bernoulli_.float", this, p);
        public Tensor random_(double from, double to) => Aten.Into("random_.from", this, (long)from, (long)to);

        public static Tensor operator +(Tensor left, Tensor right) => left.add(right);
        public static Tensor operator +(Tensor left, Scalar right) => left.add(right);
        public static Tensor operator +(Scalar left, Tensor right) => right.add(left);
        public static Tensor operator -(Tensor value) => value.neg();
        public static Tensor operator -(Tensor left, Tensor right) => left.sub(right);
        public static Tensor operator -(Tensor left, Scalar right) => left.sub(right);
        public static Tensor operator -(Scalar left, Tensor right) => Aten.One("rsub.Scalar", right, left);
        public static Tensor operator *(Tensor left, Tensor right) => left.mul(right);
        public static Tensor operator *(Tensor left, Scalar right) => left.mul(right);
        public static Tensor operator *(Scalar left, Tensor right) => right.mul(left);
        public static Tensor operator /(Tensor left, Tensor right) => left.div(right);
        public static Tensor operator /(Tensor left, Scalar right) => left.div(right);
        public static Tensor operator /(Scalar left, Tensor right)
        {
            using var inverse = right.reciprocal();
            return inverse.mul(left);
        }
        public static Tensor operator %(Tensor left, Tensor right) => left.remainder(right);
        public static Tensor operator %(Tensor left, Scalar right) => left.remainder(right);
    }
}
