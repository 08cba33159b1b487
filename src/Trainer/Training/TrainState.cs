using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Stack;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Training;

/// <summary>
/// Everything that changes while a run trains. At a step boundary all of it is the same on every rank, and all of it is in a checkpoint. It
/// outlives generations: a rank that lost its peers keeps it in memory, and goes on from it or gives it to those who need it.
/// </summary>
public sealed partial class TrainState : IDisposable
{
    /// <summary>torch has one random generator per process; ranks that are threads of one take turns.</summary>
    internal static readonly Lock Generator = new();

    private readonly TrainOptions _options;
    private readonly TensorSet _model;
    private readonly TensorSet _momenta;
    private readonly IReadOnlyList<Tensor> _compared;
    private readonly StepGuard _guard;
    private CheckpointWriter? _writer;
    private CheckpointWriter? _olderWriter;
    private bool _pristine = true;

    private TrainState(TrainOptions options, IMethod method, TimedCollective ranks, RankShare share, ITorchStack stack)
    {
        // The rest are second networks that follow the trained one.
        var named = method.Network.named_parameters().Where(p => p.parameter.requires_grad).ToList();
        Banks = [.. method.Network.named_modules().Where(m => m.module is Bank).Select(m => (m.name, (Bank)m.module))];
        // Banks change after the update only: a step that is broken off has not touched them.
        var remembered = Banks.SelectMany(b => b.Bank.named_buffers().Select(row => $"{b.Name}.{row.name}")).ToHashSet();
        var buffers = method.Network.named_buffers().Where(b => !remembered.Contains(b.name)).Select(b => b.buffer).ToList();
        (_options, Method, Ranks, Share, Stack) = (options, method, ranks, share, stack);
        Parameters = [.. named.Select(p => p.parameter)];
        Optimizer = new Optimizer(options.Optimizer, named, stack);
        Looks = new LookHistory(options.Watch, options.Method.Plateaus(options.GlobalBatch));
        Gradients = new GradientBuckets(Parameters, ranks, options.BucketBytes, StepSums.Count, stack);
        _guard = new StepGuard(buffers);
        _model = new TensorSet(method.Network.state_dict().Select(t => (t.Key, t.Value)));
        _momenta = new TensorSet(Optimizer.State);
        // Running statistics of ranks that normalise each for itself differ, and training does not read them.
        var own = options.SyncBatchNorm ? [] : method.Network.named_buffers().Select(b => b.name).ToHashSet();
        _compared = [.. _model.Tensors.Where(t => !own.Contains(t.Name)).Concat(_momenta.Tensors).Select(t => t.Tensor)];
    }

    /// <summary>Updates applied.</summary>
    public long Step { get; private set; }

    /// <summary>Updates of the whole run, as far as known; 0 before the first generation.</summary>
    public long TotalSteps { get; private set; }

    /// <summary>Whether <see cref="TotalSteps"/> is final.</summary>
    public bool Planned { get; private set; }

    /// <summary>Time trained, over all parts of the run.</summary>
    public TimeSpan Trained { get; set; }

    /// <summary>The newest generation that began with this state; 0: none.</summary>
    public long Generation { get; private set; }

    /// <summary>Which generations made its steps, of which images; the newest last.</summary>
    public IReadOnlyList<StateSegment> Lineage { get; private set; } = [];

    /// <summary>Whether this is a state of the run: not before the first generation, nor after a heal that broke off or a hash that was wrong.</summary>
    public bool Holds { get; private set; }

    /// <summary>The ranks of the current generation; a single one before the first.</summary>
    public TimedCollective Ranks { get; }

    /// <summary>How the current generation shares the global batch.</summary>
    public RankShare Share { get; }

    /// <summary>Networks and loss.</summary>
    public IMethod Method { get; }

    /// <summary>What the method remembers of other images, by its name in the network.</summary>
    public IReadOnlyList<(string Name, Bank Bank)> Banks { get; }

    /// <summary>What applies gradients.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>The gradients' buffers.</summary>
    public GradientBuckets Gradients { get; }

    /// <summary>What the looks at the embeddings found so far. Of this process: where rank 0 is lost, the next one's counts begin anew.</summary>
    public LookHistory Looks { get; }

    /// <summary>What is trained, in the order of its names' registration.</summary>
    public IReadOnlyList<Parameter> Parameters { get; }

    /// <summary>What computes.</summary>
    public ITorchStack Stack { get; }

    /// <summary>Builds networks, optimizer and buffers, initialised from the seed: all that needs no other rank.</summary>
    /// <exception cref="ArgumentException">The options have problems; all are named.</exception>
    public static TrainState Prepare(TrainOptions options, ITorchStack stack)
    {
        if (options.Problems().ToList() is { Count: > 0 } problems)
            throw new ArgumentException($"run '{options.Run}': {string.Join("; ", problems)}", nameof(options));
        if (options.Threads > 0)
            stack.SetThreads(options.Threads);
        var ranks = new TimedCollective(new SingleRank());
        var share = new RankShare(ranks, [options.GlobalBatch]);
        return new TrainState(options, NewMethod(options, ranks, share, stack), ranks, share, stack);
    }

    /// <summary>
    /// Makes one step's forward and backward pass on blank images and forgets it: the code is compiled and memory is taken before others wait
    /// for this rank.
    /// </summary>
    public void WarmUp(TrainOptions options)
    {
        var images = Math.Max(2, options.ImagesPerLane);
        using var scope = NewDisposeScope();
        var x = ViewBuffer.Groups(options.ViewSizes).Select(group => Stack.ToChannelsLast(
            zeros([group.Views * images, 3, group.Size, group.Size], dtype: Parameters[0].dtype, device: Parameters[0].device))).ToList();
        var share = Share.Counts;
        Share.Deal([images]);
        Share.Show([.. Enumerable.Range(0, images).Select(i => i % Math.Max(1, options.DatasetImages))]);
        BeginStep();
        Method.Loss(x).Value.backward();
        Abandon();
        Share.Deal(share);
    }

    /// <summary>Whether this rank would rather compute in bfloat16.</summary>
    public bool PrefersBFloat16(Precision precision) => precision == Precision.BFloat16 || (precision == Precision.Auto && Stack.PrefersBFloat16);

    /// <summary>Takes the place of a rank; what a broken step left is undone. Nothing of the state itself changes.</summary>
    public void Enter(TrainOptions options, ICollective ranks)
    {
        Abandon();
        Ranks.Use(ranks);
        if (!Planned)
            (TotalSteps, Planned) = (options.TotalSteps, options.Budget is null);
    }

    /// <summary>What this rank brings into a generation.</summary>
    public RankState Describe() => new(Generation, Step, Hash(), Holds);

    /// <summary>Every rank of a generation holds this state: it begins.</summary>
    public void Begin(long generation) => (Generation, Lineage, Holds) = (generation, StateSegment.Begin(Lineage, generation, Step), true);

    /// <summary>This state is not the run's: it was found to differ, or is about to be overwritten.</summary>
    public void Distrust() => (Holds, _pristine) = (false, false);

    /// <summary>Fixes the number of steps.</summary>
    public void Plan(long totalSteps) => (TotalSteps, Planned) = (totalSteps, true);

    /// <summary>Remembers what the forward pass is about to change.</summary>
    public void BeginStep() => _guard.Open();

    /// <summary>Applies the update of a step whose gradients are those of the global batch.</summary>
    /// <param name="lr">The learning rate.</param>
    /// <param name="samples">The digest of the global batch.</param>
    public void ApplyStep(double lr, ulong samples)
    {
        _pristine = false;
        var decay = new Schedule(_options.Optimizer, Math.Max(1, TotalSteps), Method.UntrainedSteps).WeightDecayAt(Step);
        Optimizer.Step(Gradients.Gradients, lr, parameter => Method.UpdateOf(parameter, Step), decay);
        Step++;
        Method.AfterUpdate(Step, TotalSteps);
        Lineage = StateSegment.Grow(Lineage, samples);
        _guard.Close();
    }

    /// <summary>Undoes what a step that was not applied has changed; nothing where none is open.</summary>
    public void Abandon() => _guard.Restore();

    /// <summary>The fingerprint of everything that ranks must have in common.</summary>
    public ulong Hash() => StateHash.Of(_compared);

    /// <summary>Makes sure that all ranks have one fingerprint, and returns it.</summary>
    /// <param name="expected">The right one where it is known; else the majority's is.</param>
    /// <exception cref="StateDivergedException">They have not. A rank with a wrong one distrusts its state from now on.</exception>
    public ulong CompareHashes(ulong? expected = null)
    {
        var mine = Hash();
        var hashes = Ranks.GatherNumbers([(long)mine]).Select(of => (ulong)of[0]).ToList();
        var tainted = expected is null ? HealPlan.Tainted(hashes) : [.. Enumerable.Range(0, hashes.Count).Where(rank => hashes[rank] != expected)];
        if (tainted.Count == 0)
            return mine;
        if (tainted.Contains(Ranks.Rank))
            Distrust();
        try
        {
            Ranks.Barrier();                                                      // nobody leaves, which ends the generation, before all have seen it
        }
        catch (CollectiveAbortedException)
        {
            // Another has seen it and gone.
        }

        throw new StateDivergedException(Step, Ranks.Generation, hashes, tainted);
    }

    /// <summary>Everything a rank copies from others: the networks' state, then the optimizer's.</summary>
    public IEnumerable<Tensor> Tensors => _model.Tensors.Concat(_momenta.Tensors).Select(t => t.Tensor);

    /// <summary>Everything as it was before the first step: initialised from the seed, on every rank the same.</summary>
    public void Reset()
    {
        if (_pristine)
            return;
        using var _ = no_grad();
        using var fresh = NewMethod(_options, Ranks, Share, Stack);
        foreach (var ((name, mine), (other, first)) in _model.Tensors.Zip(fresh.Network.state_dict().Select(t => (t.Key, t.Value))))
            mine.copy_(name == other ? first : throw new InvalidOperationException($"two networks of one recipe differ: '{name}' and '{other}'"));
        foreach (var (_, momentum) in _momenta.Tensors)
            momentum.zero_();
        (Step, Generation, Lineage, Trained) = (0, 0, [], TimeSpan.Zero);
        Looks.Forget();
    }

    /// <summary>Frees networks, optimizer and buffers.</summary>
    public void Dispose()
    {
        _olderWriter?.Dispose();
        _writer?.Dispose();
        _guard.Dispose();
        Gradients.Dispose();
        Optimizer.Dispose();
        Method.Dispose();
    }

    private static IMethod NewMethod(TrainOptions options, TimedCollective ranks, RankShare share, ITorchStack stack)
    {
        IMethod method;
        lock (Generator)
        {
            manual_seed(options.Seed);
            method = options.Method.Create(new MethodSetup(options.Model, new Normalization(stack, options.SyncBatchNorm ? ranks : null), share, options.ViewSizes) { Images = options.DatasetImages });
        }

        if (options.Precision == Precision.Float64)
            BankPrecision.ToFloat64(method.Network);
        if (device(options.Device) is { type: not TorchSharp.DeviceType.CPU } accelerator)
            method.Network.to(accelerator);
        return method;
    }
}
