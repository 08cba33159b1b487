using TorchSharp.Native;

namespace TorchSharp;

public enum PaddingModes
{
    Zeros = 0,
    Reflect = 1,
    Replicate = 2,
    Circular = 3,
    Constant = 4,
}

public static partial class torch
{
    public static partial class nn
    {
        public enum Reduction : long
        {
            None = 0,
            Mean = 1,
            Sum = 2,
        }

        public static partial class functional
        {
            public static Tensor linear(Tensor input, Tensor weights, Tensor? bias = null) => Aten.One("linear", input, weights, bias);

            public static Tensor conv2d(
                Tensor input, Tensor weight, Tensor? bias = null, long[]? strides = null, long[]? padding = null, long[]? dilation = null, long groups = 1) =>
                Aten.One("conv2d", input, weight, bias, strides ?? [1, 1], padding ?? [0, 0], dilation ?? [1, 1], groups);

            public static Tensor batch_norm(
                Tensor input, Tensor? running_mean, Tensor? running_var, Tensor? weight = null, Tensor? bias = null,
                bool training = false, double momentum = 0.1, double eps = 1e-5) =>
                Aten.One("batch_norm", input, weight, bias, running_mean, running_var, training, momentum, eps, false);

            public static Tensor relu(Tensor x, bool inplace = false) => inplace ? x.relu_().alias() : x.relu();
            public static Tensor softmax(Tensor input, long dim, ScalarType? dtype = null) => input.softmax(dim, dtype);
            public static Tensor log_softmax(Tensor x, long dim) => x.log_softmax(dim);

            public static Tensor dropout(Tensor input, double p = 0.5, bool training = true, bool inplace = false) =>
                inplace ? Aten.Into("dropout_", input, p, training).alias() : Aten.One("dropout", input, p, training);

            /// <summary>x / max(‖x‖ₚ, eps) along a dimension.</summary>
            public static Tensor normalize(Tensor input, double p = 2.0, long dim = 1L, double eps = 1e-12)
            {
                using var norm = Aten.One("norm.ScalarOpt_dim", input, p, new[] { dim }, true);
                using var length = norm.clamp_min(eps);
                return input.div(length);
            }

            public static Tensor cross_entropy(
                Tensor input, Tensor target, Tensor? weight = null, long ignore_index = -100, Reduction reduction = Reduction.Mean, double label_smoothing = 0.0) =>
                Aten.One("cross_entropy_loss", input, target, weight, (long)reduction, ignore_index, label_smoothing);

            public static Tensor mse_loss(Tensor input, Tensor target, Reduction reduction = Reduction.Mean) =>
                Aten.One("mse_loss", input, target, (long)reduction);

            public static Tensor one_hot(Tensor x, long num_classes = -1) => Aten.One("one_hot", x, num_classes);

            public static Tensor max_pool2d(
                Tensor input, long kernel_size, long? stride = null, long? padding = null, long? dilation = null, bool ceil_mode = false) =>
                Aten.One(
                    "max_pool2d", input, new[] { kernel_size, kernel_size }, new[] { stride ?? kernel_size, stride ?? kernel_size },
                    new[] { padding ?? 0, padding ?? 0 }, new[] { dilation ?? 1, dilation ?? 1 }, ceil_mode);

            public static Tensor adaptive_avg_pool2d(Tensor input, (long, long) output_size) =>
                Aten.One("adaptive_avg_pool2d", input, new[] { output_size.Item1, output_size.Item2 });

            public static Tensor adaptive_avg_pool2d(Tensor input, long output_size) => adaptive_avg_pool2d(input, (output_size, output_size));
        }
    }
}
