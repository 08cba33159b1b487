using System.Diagnostics;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Stack;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Training;

/// <summary>
/// All gradients in a few flat buffers, in the order backward produces them, so that each buffer's sum over the ranks travels while
/// backward still computes. A parameter's <c>grad</c> is a view of its buffer: nothing is copied. A few extra numbers ride in the last
/// buffer, which saves a message per step. The buffers live as long as the parameters; who sums them changes with the generation.
/// </summary>
public sealed class GradientBuckets : IDisposable
{
    private const int AlignElements = 16;
    private readonly ICollective _ranks;
    private readonly List<Bucket> _buckets = [];
    private readonly Bucket[] _bucketOf;
    private readonly IDisposable? _hook;
    private int _started;
    private bool _open;

    /// <summary>Gives every parameter a gradient of zeros.</summary>
    /// <param name="parameters">What is trained: one element type, float32 or float64, on one device.</param>
    /// <param name="ranks">Who the gradients are summed over.</param>
    /// <param name="bucketBytes">The most a buffer holds, unless a single parameter is larger.</param>
    /// <param name="extras">How many numbers ride along; see <see cref="Begin"/>.</param>
    /// <param name="stack">Tells when gradients are ready.</param>
    public GradientBuckets(IReadOnlyList<Parameter> parameters, ICollective ranks, int bucketBytes, int extras, ITorchStack stack)
    {
        if (parameters.Count == 0)
            throw new ArgumentException("There is nothing to train: the network has no parameters.", nameof(parameters));
        _ranks = ranks;
        _bucketOf = new Bucket[parameters.Count];
        Fill(parameters, bucketBytes, extras);
        Gradients = [.. parameters.Select(p => p.grad!)];
        _hook = stack.OnGradientReady(parameters, Ready);
    }

    /// <summary>The gradients, in the parameters' order; after <see cref="Finish(Span{double})"/> those of the global batch.</summary>
    public IReadOnlyList<Tensor> Gradients { get; }

    /// <summary>Time the last <see cref="Finish(Span{double})"/> waited for other ranks.</summary>
    public TimeSpan Waited { get; private set; }

    /// <summary>Sets all gradients to 0 before backward; <paramref name="extras"/> are this rank's summands of the numbers that ride along.</summary>
    public void Begin(ReadOnlySpan<double> extras)
    {
        using var _ = no_grad();
        foreach (var bucket in _buckets)
        {
            bucket.Flat.zero_();
            bucket.Pending = bucket.Parameters;
            bucket.Sum = null;
        }

        var last = _buckets[^1];
        if (extras.Length != last.Extras)
            throw new ArgumentException($"{last.Extras} extra numbers ride along, not {extras.Length}.", nameof(extras));
        if (extras.Length > 0)
        {
            using var values = tensor(extras.ToArray(), dtype: last.Flat.dtype);
            using var slot = last.Flat.narrow(0, last.Length - last.Extras, last.Extras);
            slot.copy_(values);
        }

        _started = 0;
        _open = _ranks.World > 1;
    }

    /// <summary>As <see cref="Finish(Span{double})"/>, for the numbers of a training step.</summary>
    public bool Finish(out StepSums sums)
    {
        Span<double> extras = stackalloc double[StepSums.Count];
        var finite = Finish(extras);
        sums = StepSums.From(extras);
        return finite;
    }

    /// <summary>Waits until every sum over the ranks is there. Call it when backward has returned.</summary>
    /// <param name="extras">Receives the sums of the numbers that rode along.</param>
    /// <returns>False if any gradient is infinite or not a number: the update must not be applied.</returns>
    /// <exception cref="CollectiveAbortedException">A rank was lost.</exception>
    public bool Finish(Span<double> extras)
    {
        var start = Stopwatch.GetTimestamp();
        _open = false;
        if (_ranks.World > 1)
        {
            foreach (var bucket in _buckets.Skip(_started))
                bucket.Start(_ranks);
            foreach (var bucket in _buckets)
                bucket.Wait();
        }

        Waited = Stopwatch.GetElapsedTime(start);
        var last = _buckets[^1];
        using var slot = last.Flat.narrow(0, last.Length - last.Extras, last.Extras).to(ScalarType.Float64).cpu();
        slot.data<double>().ToArray().CopyTo(extras);
        return _buckets.TrueForAll(b => b.IsFinite());
    }

    /// <summary>Stops listening and frees the buffers.</summary>
    public void Dispose()
    {
        _hook?.Dispose();
        foreach (var gradient in Gradients)
            gradient.Dispose();
        foreach (var bucket in _buckets)
            bucket.Dispose();
    }

    /// <summary>Backward produces gradients from the last parameter to the first, so the buffers are filled in that order.</summary>
    private void Fill(IReadOnlyList<Parameter> parameters, int bucketBytes, int extras)
    {
        var (dtype, device) = (parameters[0].dtype, parameters[0].device);
        var limit = bucketBytes / parameters[0].ElementSize;
        var group = new List<int>();
        long length = 0;
        for (var i = parameters.Count - 1; i >= 0; i--)
        {
            var size = Align(parameters[i].numel());
            if (group.Count > 0 && length + size > limit)
            {
                Close(extras: 0);
                length = 0;
            }

            group.Add(i);
            length += size;
        }

        Close(extras);

        void Close(int extras)
        {
            var total = (int)group.Sum(i => Align(parameters[i].numel())) + extras;
            var bucket = new Bucket(total, group.Count, extras, dtype, device);
            long offset = 0;
            foreach (var i in group)
            {
                using var view = bucket.Flat.narrow(0, offset, parameters[i].numel()).view(parameters[i].shape);
                parameters[i].grad = view;
                _bucketOf[i] = bucket;
                offset += Align(parameters[i].numel());
            }

            _buckets.Add(bucket);
            group.Clear();
        }
    }

    private static long Align(long elements) => (elements + AlignElements - 1) / AlignElements * AlignElements;

    /// <summary>Every rank starts its sums in the same order, whatever order its gradients come in.</summary>
    private void Ready(int parameter)
    {
        if (!_open)
            return;
        _bucketOf[parameter].Pending--;
        while (_started < _buckets.Count && _buckets[_started].Pending <= 0)
            _buckets[_started++].Start(_ranks);
    }

    private sealed class Bucket : IDisposable
    {
        private readonly Memory<float> _host;

        internal Bucket(int length, int parameters, int extras, ScalarType dtype, Device device)
        {
            (Length, Parameters, Extras) = (length, parameters, extras);
            if (device.type == DeviceType.CPU && dtype == ScalarType.Float32)
            {
                var memory = GC.AllocateUninitializedArray<float>(length, pinned: true);
                _host = memory;
                Flat = frombuffer(memory, ScalarType.Float32).DetachFromDisposeScope();
            }
            else
            {
                Flat = empty(length, dtype: dtype, device: device).DetachFromDisposeScope();
            }
        }

        internal Tensor Flat { get; }

        internal int Length { get; }

        internal int Parameters { get; }

        internal int Extras { get; }

        internal int Pending { get; set; }

        internal Task? Sum { get; set; }

        internal void Start(ICollective ranks)
        {
            if (_host.IsEmpty)
                ranks.AllReduceSum(Flat);
            else
                Sum = ranks.AllReduceSumAsync(_host);
        }

        internal void Wait() => Sum?.GetAwaiter().GetResult();

        internal bool IsFinite()
        {
            using var sum = Flat.sum();
            return double.IsFinite(sum.to(ScalarType.Float64).item<double>());
        }

        public void Dispose() => Flat.Dispose();
    }
}
