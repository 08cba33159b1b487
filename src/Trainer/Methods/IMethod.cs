using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Optimizers;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Methods;

/// <summary>
/// One way to learn without labels: its networks, its loss on this rank's images, its moving averages and its energy. A method sees the
/// tensors of its rank and a <see cref="Gather"/>; it never sees the network between ranks.
/// </summary>
public interface IMethod : IDisposable
{
    /// <summary>As the recipe spells it.</summary>
    string Name { get; }

    /// <summary>Whether the networks compute in bfloat16; the ranks of a generation agree on it.</summary>
    bool Autocast { get; set; }

    /// <summary>V, how many views of each image a step needs.</summary>
    int Views { get; }

    /// <summary>Everything that is trained, averaged or remembered; its state is what a checkpoint holds.</summary>
    nn.Module Network { get; }

    /// <summary>The backbone that is trained; what is evaluated and exported is <see cref="MethodOptions.ExportedPart"/>, mostly the same.</summary>
    Backbone Backbone { get; }

    /// <summary>Updates at the start in which nothing is trained: the schedule of the learning rate begins after them.</summary>
    long UntrainedSteps => 0;

    /// <summary>This rank's part of the loss; the parts of all ranks sum to the loss of the global batch.</summary>
    /// <param name="x">[V·n, 3, H, W] float32: view 1 of the n images, then view 2, …</param>
    MethodLoss Loss(Tensor x);

    /// <summary>As <see cref="Loss(Tensor)"/>, for views of several sizes (multi-crop).</summary>
    /// <param name="x">One tensor for each size, in the recipe's order: [V_k·n, 3, H_k, W_k].</param>
    /// <exception cref="ArgumentException">The method compares views of one size only.</exception>
    MethodLoss Loss(IReadOnlyList<Tensor> x) => x is [var only]
        ? Loss(only)
        : throw new ArgumentException($"{Name} compares views of one size; it got {x.Count} sizes", nameof(x));

    /// <summary>How the optimizer treats a parameter in the update that follows.</summary>
    /// <param name="parameter">Its name in <see cref="Network"/>.</param>
    /// <param name="step">Updates applied so far.</param>
    ParameterUpdate UpdateOf(string parameter, long step) => ParameterUpdate.Scheduled;

    /// <summary>
    /// Called after every optimizer update: moving averages and memories belong here. What it needs of other ranks was fetched by
    /// <see cref="Loss(Tensor)"/>: the update is made, so nothing may fail any more.
    /// </summary>
    /// <param name="step">Updates applied, this one included.</param>
    /// <param name="totalSteps">Updates of the whole run.</param>
    void AfterUpdate(long step, long totalSteps);

    /// <summary>A scalar for each pair, low where x and y are compatible: [n, 3, H, W] twice → [n]. Of images as they are, not cut into patches.</summary>
    Tensor Energy(Tensor x, Tensor y);

    /// <summary>Whether <see cref="Energy"/> does not mind an exchange of x and y.</summary>
    bool EnergyIsSymmetric { get; }
}

/// <summary>What a method's forward pass gives.</summary>
/// <param name="Value">Scalar, differentiable.</param>
/// <param name="Embeddings">This rank's embeddings, float32, detached: [V·n, D]. Unit rows, or places where the options give a <see cref="MethodOptions.Radius"/>.</param>
public sealed record MethodLoss(Tensor Value, Tensor Embeddings);
