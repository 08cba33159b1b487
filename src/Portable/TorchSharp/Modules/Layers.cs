using static TorchSharp.torch;

namespace TorchSharp.Modules
{
    /// <summary>y = x Wᵀ + b, W [out, in].</summary>
    public sealed class Linear : nn.Module<Tensor, Tensor>
    {
        internal Linear(long inputSize, long outputSize, bool hasBias, Device? device, ScalarType? dtype) : base(nameof(Linear))
        {
            (in_features, out_features) = (inputSize, outputSize);
            weight = Initial.Weight(empty(outputSize, inputSize, dtype, device));
            register_parameter(nameof(weight), weight);
            if (!hasBias) return;
            bias = Initial.Bias(empty(outputSize, dtype, device), inputSize);
            register_parameter(nameof(bias), bias);
        }

        public long in_features { get; set; }
        public long out_features { get; set; }
        public Parameter weight { get; }
        public Parameter? bias { get; }

        public override Tensor forward(Tensor tensor) => nn.functional.linear(tensor, weight, bias);
    }

    /// <summary>Two-dimensional convolution, W [out, in / groups, k, k], zeros around.</summary>
    public sealed class Conv2d : nn.Module<Tensor, Tensor>
    {
        internal Conv2d(
            long inChannels, long outChannels, (long Height, long Width) kernel, (long, long) stride, (long, long) padding, (long, long) dilation,
            long groups, bool hasBias, Device? device, ScalarType? dtype)
            : base(nameof(Conv2d))
        {
            (in_channels, out_channels, this.groups) = (inChannels, outChannels, groups);
            this.stride = [stride.Item1, stride.Item2];
            this.padding = [padding.Item1, padding.Item2];
            this.dilation = [dilation.Item1, dilation.Item2];
            weight = Initial.Weight(empty(outChannels, inChannels / groups, kernel.Height, kernel.Width, dtype, device));
            register_parameter(nameof(weight), weight);
            if (!hasBias) return;
            bias = Initial.Bias(empty(outChannels, dtype, device), inChannels / groups * kernel.Height * kernel.Width);
            register_parameter(nameof(bias), bias);
        }

        public long in_channels { get; }
        public long out_channels { get; }
        public long groups { get; }
        public long[] stride { get; }
        public long[] padding { get; }
        public long[] dilation { get; }
        public Parameter weight { get; }
        public Parameter? bias { get; }

        public override Tensor forward(Tensor input) => nn.functional.conv2d(input, weight, bias, stride, padding, dilation, groups);
    }

    /// <summary>Normalises each channel by its batch's statistics, in evaluation by the running ones.</summary>
    public abstract class BatchNorm : nn.Module<Tensor, Tensor>
    {
        private protected BatchNorm(
            long features, double eps, double? momentum, bool affine, bool track_running_stats, Device? device, ScalarType? dtype, string name)
            : base(name)
        {
            (num_features, this.eps, this.momentum, this.affine, this.track_running_stats) = (features, eps, momentum, affine, track_running_stats);
            if (affine)
            {
                weight = nn.Parameter(ones(features, dtype, device));
                bias = nn.Parameter(zeros(features, dtype, device));
                register_parameter(nameof(weight), weight);
                register_parameter(nameof(bias), bias);
            }
            if (!track_running_stats) return;
            running_mean = zeros(features, dtype, device);
            running_var = ones(features, dtype, device);
            num_batches_tracked = tensor(0L, device: device);
            register_buffer(nameof(running_mean), running_mean);
            register_buffer(nameof(running_var), running_var);
            register_buffer(nameof(num_batches_tracked), num_batches_tracked);
        }

        public long num_features { get; }
        public double eps { get; set; }
        public double? momentum { get; set; }
        public bool affine { get; }
        public bool track_running_stats { get; }
        public Parameter? weight { get; }
        public Parameter? bias { get; }
        public Tensor? running_mean { get; }
        public Tensor? running_var { get; }
        public Tensor? num_batches_tracked { get; }

        public override Tensor forward(Tensor input)
        {
            Validate(input);
            if (training && num_batches_tracked is not null)
            {
                using (no_grad()) num_batches_tracked.add_(1);
            }
            // Without a momentum, the plain average over all batches.
            var factor = momentum ?? (training && num_batches_tracked is not null ? 1.0 / (double)num_batches_tracked : 0);
            return nn.functional.batch_norm(input, running_mean, running_var, weight, bias, training || running_mean is null, factor, eps);
        }

        private protected abstract void Validate(Tensor input);
    }

    public sealed class BatchNorm1d : BatchNorm
    {
        internal BatchNorm1d(long features, double eps, double? momentum, bool affine, bool track, Device? device, ScalarType? dtype)
            : base(features, eps, momentum, affine, track, device, dtype, nameof(BatchNorm1d))
        {
        }

        private protected override void Validate(Tensor input)
        {
            if (input.Dimensions is not (2 or 3)) throw new ArgumentException($"expected 2D or 3D input, but got {input.Dimensions}D input.");
        }
    }

    public sealed class BatchNorm2d : BatchNorm
    {
        internal BatchNorm2d(long features, double eps, double? momentum, bool affine, bool track, Device? device, ScalarType? dtype)
            : base(features, eps, momentum, affine, track, device, dtype, nameof(BatchNorm2d))
        {
        }

        private protected override void Validate(Tensor input)
        {
            if (input.Dimensions != 4) throw new ArgumentException($"expected 4D input, but got {input.Dimensions}D input.");
        }
    }

    public sealed class ReLU(bool inplace) : nn.Module<Tensor, Tensor>(nameof(ReLU))
    {
        public bool inplace { get; set; } = inplace;

        public override Tensor forward(Tensor tensor) => nn.functional.relu(tensor, inplace);
    }

    public sealed class Identity() : nn.Module<Tensor, Tensor>(nameof(Identity))
    {
        public override Tensor forward(Tensor tensor) => tensor.alias();
    }

    public sealed class Flatten(long start_dim, long end_dim) : nn.Module<Tensor, Tensor>(nameof(Flatten))
    {
        public override Tensor forward(Tensor input) => input.flatten(start_dim, end_dim);
    }

    public sealed class Dropout(double p, bool inplace) : nn.Module<Tensor, Tensor>(nameof(Dropout))
    {
        public override Tensor forward(Tensor tensor) => nn.functional.dropout(tensor, p, training, inplace);
    }

    public sealed class MaxPool2d(long kernel, long? stride, long? padding, long? dilation, bool ceil_mode) : nn.Module<Tensor, Tensor>(nameof(MaxPool2d))
    {
        public override Tensor forward(Tensor input) => nn.functional.max_pool2d(input, kernel, stride, padding, dilation, ceil_mode);
    }

    public sealed class AdaptiveAvgPool2d(long height, long width) : nn.Module<Tensor, Tensor>(nameof(AdaptiveAvgPool2d))
    {
        public override Tensor forward(Tensor input) => nn.functional.adaptive_avg_pool2d(input, (height, width));
    }

    /// <summary>PyTorch's own starting values: uniform with the bound 1 / √fan-in, for weights and biases alike.</summary>
    internal static class Initial
    {
        internal static Parameter Weight(Tensor weight) => nn.Parameter(nn.init.kaiming_uniform_(weight, Math.Sqrt(5)));

        internal static Parameter Bias(Tensor bias, long fanIn)
        {
            var bound = fanIn > 0 ? 1 / Math.Sqrt(fanIn) : 0;
            return nn.Parameter(nn.init.uniform_(bias, -bound, bound));
        }
    }
}

namespace TorchSharp
{
    public static partial class torch
    {
        public static partial class nn
        {
            public static Modules.Linear Linear(long inputSize, long outputSize, bool hasBias = true, Device? device = null, ScalarType? dtype = null) =>
                new(inputSize, outputSize, hasBias, device, dtype);

            public static Modules.Conv2d Conv2d(
                long in_channels, long out_channels, long kernel_size, long stride = 1, long padding = 0, long dilation = 1,
                PaddingModes padding_mode = PaddingModes.Zeros, long groups = 1, bool bias = true, Device? device = null, ScalarType? dtype = null) =>
                padding_mode == PaddingModes.Zeros
                    ? new(in_channels, out_channels, (kernel_size, kernel_size), (stride, stride), (padding, padding), (dilation, dilation), groups, bias, device, dtype)
                    : throw new ArgumentException($"Conv2d pads with zeros here, not with {padding_mode}; pad the input first.", nameof(padding_mode));

            public static Modules.BatchNorm1d BatchNorm1d(
                long num_features, double eps = 1e-05, double momentum = 0.1, bool affine = true, bool track_running_stats = true,
                Device? device = null, ScalarType? dtype = null) =>
                new(num_features, eps, momentum, affine, track_running_stats, device, dtype);

            public static Modules.BatchNorm2d BatchNorm2d(
                long num_features, double eps = 1e-05, double momentum = 0.1, bool affine = true, bool track_running_stats = true,
                Device? device = null, ScalarType? dtype = null) =>
                new(num_features, eps, momentum, affine, track_running_stats, device, dtype);

            public static Modules.ReLU ReLU(bool inplace = false) => new(inplace);
            public static Modules.Identity Identity() => new();
            public static Modules.Flatten Flatten(long start_dim = 1, long end_dim = -1) => new(start_dim, end_dim);
            public static Modules.Dropout Dropout(double p = 0.5, bool inplace = false) => new(p, inplace);

            public static Modules.MaxPool2d MaxPool2d(
                long kernel_size, long? stride = null, long? padding = null, long? dilation = null, bool ceil_mode = false) =>
                new(kernel_size, stride, padding, dilation, ceil_mode);

            public static Modules.AdaptiveAvgPool2d AdaptiveAvgPool2d(long output_size) => new(output_size, output_size);
            public static Modules.AdaptiveAvgPool2d AdaptiveAvgPool2d((long, long) output_size) => new(output_size.Item1, output_size.Item2);
        }
    }
}
