using System.Runtime.InteropServices;
using TorchSharp.Native;

namespace TorchSharp.Portable;

/// <summary>Adds numbers up over the ranks, in place.</summary>
public delegate void SumDoubles(Span<double> values);

/// <summary>The native kernels of native/torch that replace chains of operations.</summary>
public static unsafe class Kernels
{
    /// <summary>Whether <see cref="BatchNorm"/> takes this input: float32 or bfloat16, two- or four-dimensional.</summary>
    public static bool CanBatchNorm(torch.Tensor x)
    {
        ArgumentNullException.ThrowIfNull(x);
        return x.dtype is torch.ScalarType.Float32 or torch.ScalarType.BFloat16 && x.Dimensions is 2 or 4;
    }

    /// <summary>Batch norm by batch statistics [+ residual] [+ ReLU] in one differentiable operation; the result is channels-last.</summary>
    public static torch.Tensor BatchNorm(
        torch.Tensor x, torch.Tensor? weight, torch.Tensor? bias, torch.Tensor? runningMean, torch.Tensor? runningVar,
        double momentum, double eps, bool relu, torch.Tensor? residual, SumDoubles? sum)
    {
        ArgumentNullException.ThrowIfNull(x);
        using var input = Extras.ToChannelsLast(x);
        using var typed = residual?.to_type(x.dtype);
        using var added = typed is null ? null : Extras.ToChannelsLast(typed);
        nint result;
        Shim.Check(Shim.BatchNorm(
            input.Handle, weight?.Handle ?? 0, bias?.Handle ?? 0, runningMean?.Handle ?? 0, runningVar?.Handle ?? 0, momentum, eps, relu ? 1 : 0,
            added?.Handle ?? 0, sum is null ? null : &Sum, sum is null ? null : &Callbacks.Free, sum is null ? 0 : Callbacks.Keep(sum), &result));
        GC.KeepAlive((weight, bias, runningMean, runningVar));
        return new(result);
    }

    /// <summary>SGD with momentum over all parameters; with <paramref name="adapt"/> not empty, LARS. See src/Trainer/Stack for the formulas.</summary>
    public static void Descend(
        IReadOnlyList<torch.Tensor> parameters, IReadOnlyList<torch.Tensor> gradients, IReadOnlyList<torch.Tensor> momenta,
        ReadOnlySpan<double> weightDecay, ReadOnlySpan<bool> adapt, double trust, double lr, double momentum, bool nesterov)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        ArgumentNullException.ThrowIfNull(gradients);
        ArgumentNullException.ThrowIfNull(momenta);
        var count = parameters.Count;
        if (gradients.Count != count || momenta.Count != count || weightDecay.Length != count || (adapt.Length != 0 && adapt.Length != count))
        {
            throw new ArgumentException($"{count} parameters need as many gradients ({gradients.Count}), momenta ({momenta.Count}) and decays ({weightDecay.Length})");
        }
        var handles = new nint[3 * count];
        for (var i = 0; i < count; i++)
        {
            handles[i] = parameters[i].Handle;
            handles[count + i] = gradients[i].Handle;
            handles[2 * count + i] = momenta[i].Handle;
        }
        fixed (nint* h = handles)
        fixed (double* d = weightDecay)
        fixed (bool* a = adapt)
        {
            Shim.Check(Shim.Descend(h, h + count, h + 2 * count, count, d, (byte*)a, trust, lr, momentum, nesterov ? 1 : 0));
        }
        GC.KeepAlive((parameters, gradients, momenta));
    }

    /// <summary>uint8 [N, H, W, C] to float32 [N, C, H, W], channels-last: (byte / 255 − mean) / deviation.</summary>
    public static torch.Tensor Normalize(torch.Tensor images, ReadOnlySpan<float> mean, ReadOnlySpan<float> deviation)
    {
        ArgumentNullException.ThrowIfNull(images);
        if (images.dtype != torch.ScalarType.Byte || images.Dimensions != 4 || images.shape[3] != mean.Length || mean.Length != deviation.Length)
        {
            throw new ArgumentException(
                $"Normalize takes uint8 images [N, H, W, C] with C means and C deviations; it got {images} with {mean.Length} and {deviation.Length}");
        }
        nint result;
        fixed (float* m = mean, d = deviation) Shim.Check(Shim.Normalize(images.Handle, m, d, &result));
        return new(result);
    }

    [UnmanagedCallersOnly]
    private static int Sum(nint state, double* values, long count) =>
        Callbacks.Run((state, values: (nint)values, count), call => Callbacks.Target<SumDoubles>(call.state)(new((double*)call.values, (int)call.count)));
}
