using System.Runtime.InteropServices;
using DarkMatter.Trainer.Collectives;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Training;

/// <summary>Collectives on tensors: straight on the memory of contiguous CPU tensors, through a copy for all others.</summary>
public static class TensorCollectives
{
    /// <summary>Sums a float32 or float64 tensor over the ranks, in place.</summary>
    /// <exception cref="ArgumentException">Another element type.</exception>
    public static void AllReduceSum(this ICollective ranks, Tensor tensor)
    {
        if (ranks.World == 1)
            return;
        InHostMemory(tensor, host =>
        {
            if (host.dtype == ScalarType.Float32)
                ranks.AllReduceSum(MemoryMarshal.Cast<byte, float>(host.bytes));
            else if (host.dtype == ScalarType.Float64)
                ranks.AllReduceSum(MemoryMarshal.Cast<byte, double>(host.bytes));
            else
                throw new ArgumentException($"A sum over ranks needs float32 or float64, not {host.dtype}.", nameof(tensor));
        });
    }

    /// <summary>Copies rank <paramref name="root"/>'s tensor over everyone's, in place. Any element type.</summary>
    public static void Broadcast(this ICollective ranks, Tensor tensor, int root)
    {
        if (ranks.World > 1)
            InHostMemory(tensor, host => ranks.Broadcast(host.bytes, root));
    }

    /// <summary>Stacks every rank's rows in rank order: [n_r, …] → [Σ n, …]. Not differentiable; see <see cref="Methods.Gather"/>.</summary>
    /// <param name="ranks">The ranks.</param>
    /// <param name="mine">This rank's rows.</param>
    /// <param name="rows">n of every rank.</param>
    public static Tensor AllGather(this ICollective ranks, Tensor mine, IReadOnlyList<int> rows)
    {
        var shape = mine.shape;
        if (shape[0] != rows[ranks.Rank])
            throw new ArgumentException($"Rank {ranks.Rank} announced {rows[ranks.Rank]} rows and gives {shape[0]}.", nameof(mine));
        using var host = mine.detach().cpu().contiguous();
        var rowBytes = (int)(shape.Skip(1).Aggregate(1L, (a, b) => a * b) * host.ElementSize);
        shape[0] = rows.Sum();
        using var all = empty(shape, dtype: mine.dtype);
        ranks.AllGather(host.bytes, all.bytes, rows.Select(n => n * rowBytes).ToArray());
        return all.to(mine.device);
    }

    /// <summary>A few numbers of every rank, in rank order; each gives equally many.</summary>
    public static IReadOnlyList<long[]> GatherNumbers(this ICollective ranks, ReadOnlySpan<long> mine)
    {
        var all = new long[mine.Length * ranks.World];
        var bytes = MemoryMarshal.AsBytes(mine);
        ranks.AllGather(bytes, MemoryMarshal.AsBytes(all.AsSpan()), Enumerable.Repeat(bytes.Length, ranks.World).ToArray());
        return [.. all.Chunk(mine.Length)];
    }

    private static void InHostMemory(Tensor tensor, Action<Tensor> action)
    {
        if (tensor.device_type == TorchSharp.DeviceType.CPU && tensor.is_contiguous())
        {
            action(tensor);
            return;
        }

        using var grad = no_grad();
        using var host = tensor.detach().cpu().contiguous();
        action(host);
        tensor.copy_(host);
    }
}
