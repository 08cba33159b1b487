using TorchSharp;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Banks;

/// <summary>Gives a network its precision, and leaves rows alone that have one of their own.</summary>
public static class BankPrecision
{
    /// <summary>
    /// Everything becomes float64 but banks that keep float16 (<see cref="BankOptions.Float16"/>): the rows that such a run trains with, hashes, heals and saves
    /// are those that travel.
    /// </summary>
    /// <param name="network">Modules that hold such a bank have no tensors of their own; their children have.</param>
    public static void ToFloat64(nn.Module network)
    {
        if (network is Bank { KeepsFloat16: true })
            return;
        if (!network.modules().Any(module => module is Bank { KeepsFloat16: true }))
        {
            network.to(ScalarType.Float64);
            return;
        }

        foreach (var (_, child) in network.named_children())
            ToFloat64(child);
    }
}
