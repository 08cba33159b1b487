using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Stack;
using static TorchSharp.torch;

namespace DarkMatter.Checkpoint.Bench;

/// <summary>What a run of SimCLR with a ResNet-50 of full width keeps in a checkpoint: the product's own networks and optimizer.</summary>
internal sealed class State : IDisposable
{
    private const double Rate = 0.1;

    private readonly SimClr method;
    private readonly Optimizer optimizer;

    public State()
    {
        manual_seed(1);
        method = new SimClr(
            new SimClrOptions { ProjectorHidden = 2048, ProjectorOutput = 128, ProjectorLayers = 2 },
            new MethodSetup(
                new ResNetOptions { Depth = 50, Width = 64, Stem = ResNetStem.ImageNet }, new Normalization(TorchStack.Current, Collective: null),
                new RankShare(new SingleRank(generation: 1), [2]), [224, 224]));
        var parameters = method.Network.named_parameters().Select(pair => (pair.name, pair.parameter)).ToList();
        optimizer = new Optimizer(new OptimizerOptions(), parameters, TorchStack.Current);
        // Momenta exist once a step was made.
        using var _ = no_grad();
        optimizer.Step([.. parameters.Select(pair => pair.parameter.detach() * 0.01f)], Rate);
        Model = new TensorSet(method.Network.state_dict().Select(t => (t.Key, t.Value)));
        Memory = new TensorSet(optimizer.State);
    }

    /// <summary>Parameters and buffers.</summary>
    public TensorSet Model { get; }

    /// <summary>Momenta.</summary>
    public TensorSet Memory { get; }

    /// <summary>The size of a checkpoint, in bytes.</summary>
    public long Bytes => Model.Bytes + Memory.Bytes;

    /// <summary>Frees networks and optimizer.</summary>
    public void Dispose()
    {
        optimizer.Dispose();
        method.Dispose();
    }
}
