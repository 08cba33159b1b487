using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    // Operations of several tensors, and the functional spelling of some members.
    public static Tensor cat(IList<Tensor> tensors, long dim = 0) => Aten.One("cat", tensors.ToArray(), dim);
    public static Tensor cat(Tensor[] tensors, long dim = 0) => Aten.One("cat", tensors, dim);
    public static Tensor cat(ReadOnlySpan<Tensor> tensors, long dim = 0) => Aten.One("cat", tensors.ToArray(), dim);
    public static Tensor stack(IEnumerable<Tensor> tensors, long dim = 0) => Aten.One("stack", tensors.ToArray(), dim);
    public static Tensor where(Tensor condition, Tensor x, Tensor y) => x.where(condition, y);
    public static Tensor matmul(Tensor input, Tensor target) => input.matmul(target);
    public static Tensor mm(Tensor input, Tensor target) => input.mm(target);
    public static Tensor einsum(string equation, params Tensor[] tensors) => Aten.One("einsum", equation, tensors);
    public static Tensor logsumexp(Tensor input, long dim, bool keepdim = false) => input.logsumexp(dim, keepdim);
    public static Tensor softmax(Tensor input, int dim, ScalarType? dtype = null) => input.softmax(dim, dtype);
    public static Tensor exp(Tensor input) => input.exp();
    public static Tensor log(Tensor input) => input.log();
    public static Tensor sqrt(Tensor input) => input.sqrt();
    public static Tensor abs(Tensor input) => input.abs();
    public static Tensor sum(Tensor input, ScalarType? type = null) => input.sum(type);
    public static Tensor mean(Tensor input) => input.mean();
    public static Tensor maximum(Tensor input, Tensor other) => input.maximum(other);
    public static Tensor minimum(Tensor input, Tensor other) => input.minimum(other);
    public static Tensor norm(Tensor input, float p = 2.0f) => input.norm(p);
    public static bool allclose(Tensor tensor, Tensor target, double rtol = 1e-05, double atol = 1e-08, bool equal_nan = false) =>
        tensor.allclose(target, rtol, atol, equal_nan);
    public static Tensor flatten(Tensor input, long start_dim = 0, long end_dim = -1) => input.flatten(start_dim, end_dim);

    public static class linalg
    {
        public static Tensor cholesky(Tensor input) => Aten.One("linalg_cholesky", input, false);
        public static (Tensor, Tensor) eigh(Tensor input, char UPLO = 'L') => Aten.Two("linalg_eigh", input, UPLO.ToString());
        public static Tensor eigvalsh(Tensor input, char UPLO = 'L') => Aten.One("linalg_eigvalsh", input, UPLO.ToString());
        public static (Tensor U, Tensor S, Tensor Vh) svd(Tensor input, bool fullMatrices = true) => Aten.Three("linalg_svd", input, fullMatrices);
        public static Tensor svdvals(Tensor input) => Aten.One("linalg_svdvals", input);
        public static Tensor vector_norm(Tensor input, double ord = 2d, long[]? dims = null, bool keepdim = false) =>
            Aten.One("linalg_vector_norm", input, ord, dims, keepdim);
    }

    // ---- modes of the calling thread -----------------------------------------------------------------------------------
    public static IDisposable no_grad() => new GradMode(false);
    public static IDisposable enable_grad(bool enabled = true) => new GradMode(enabled);
    public static IDisposable set_grad_enabled(bool mode = true) => new GradMode(mode);
    public static bool is_grad_enabled() => Shim.GradEnabled() != 0;
    public static IDisposable inference_mode(bool mode = true) => new InferenceMode(mode);
    public static bool is_inference_mode_enabled() => Shim.InferenceEnabled() != 0;

    public static void set_num_threads(int num)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(num, 1);
        Shim.SetThreads(num);
    }

    public static int get_num_threads() => Shim.GetThreads();
    public static void set_num_interop_threads(int num) => Shim.Check(Shim.SetInteropThreads(num));
    public static int get_num_interop_threads() => Shim.GetInteropThreads();

    // ---- random numbers ------------------------------------------------------------------------------------------------
    public static Generator manual_seed(long seed) => random.manual_seed(seed);
    public static long seed() => random.seed();
    public static long initial_seed() => random.initial_seed();
    public static Tensor get_rng_state() => random.get_rng_state();
    public static void set_rng_state(Tensor new_state) => random.set_rng_state(new_state);

    public static class random
    {
        public static Generator manual_seed(long seed) => Generator.Default.manual_seed(seed);
        public static long seed() => Generator.Default.seed();
        public static long initial_seed() => Generator.Default.initial_seed();
        public static Tensor get_rng_state() => Generator.Default.get_state();
        public static void set_rng_state(Tensor new_state) => Generator.Default.set_state(new_state);
    }

    /// <summary>The CPU's default generator, the only one of this binding.</summary>
#pragma warning disable CA1822 // Instance members, as the official class has them: there is one instance.
    public class Generator
    {
        private Generator()
        {
        }

        public static Generator Default { get; } = new();

        public Generator manual_seed(long seed)
        {
            Shim.ManualSeed((ulong)seed);
            return this;
        }

        public long seed() => (long)Shim.Seed();
        public long initial_seed() => (long)Shim.InitialSeed();

        public unsafe Tensor get_state()
        {
            nint state;
            Shim.Check(Shim.GetRngState(&state));
            return new(state);
        }

        public void set_state(Tensor value) => Shim.Check(Shim.SetRngState(value.Handle));
    }
#pragma warning restore CA1822

    private sealed class GradMode : IDisposable
    {
        private readonly int before = Shim.GradEnabled();

        internal GradMode(bool enabled) => Shim.SetGradEnabled(enabled ? 1 : 0);

        public void Dispose() => Shim.SetGradEnabled(before);
    }

    private sealed class InferenceMode(bool enabled) : IDisposable
    {
        private nint guard = Shim.InferenceEnter(enabled ? 1 : 0);

        public void Dispose()
        {
            if (guard != 0) Shim.InferenceLeave(guard);
            guard = 0;
        }
    }
}
