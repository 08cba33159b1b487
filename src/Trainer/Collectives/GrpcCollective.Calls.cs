using System.Runtime.InteropServices;

namespace DarkMatter.Trainer.Collectives;

// The calls: which way each takes.
public sealed partial class GrpcCollective
{
    /// <inheritdoc/>
    public unsafe void AllReduceSum(Span<float> buffer)
    {
        fixed (float* pointer = buffer)
        {
            Sum(FrameKind.SumOfFloats, new PinnedBytes((byte*)pointer, ByteCount(buffer)).Memory);
        }
    }

    /// <inheritdoc/>
    public unsafe void AllReduceSum(Span<double> buffer)
    {
        fixed (double* pointer = buffer)
        {
            Sum(FrameKind.SumOfDoubles, new PinnedBytes((byte*)pointer, ByteCount(buffer)).Memory);
        }
    }

    /// <inheritdoc/>
    public Task AllReduceSumAsync(Memory<float> buffer)
    {
        var operation = SumOf(_background, FrameKind.SumOfFloats, nameof(AllReduceSumAsync), new FloatBytes(buffer).Memory);
        _background.Begin(operation, background: true, _ended.Token);
        return operation.AsTask();
    }

    /// <inheritdoc/>
    public unsafe void AllGather(ReadOnlySpan<byte> mine, Span<byte> all, ReadOnlySpan<int> counts)
    {
        CollectiveArguments.CheckGather(this, mine.Length, all.Length, counts);
        fixed (byte* source = mine)
        fixed (byte* target = all)
        {
            var offset = 0;
            for (var rank = 0; rank < Rank; rank++)
            {
                offset += counts[rank];
            }

            mine.CopyTo(all[offset..]);
            Gather(FrameKind.Gather, nameof(AllGather), new PinnedBytes(source, mine.Length).Memory, new PinnedBytes(target, all.Length).Memory, counts);
        }
    }

    /// <inheritdoc/>
    public unsafe void Broadcast(Span<byte> buffer, int root)
    {
        CollectiveArguments.CheckRoot(this, root);
        fixed (byte* pointer = buffer)
        {
            var counts = new int[World];
            counts[root] = buffer.Length;
            var all = new PinnedBytes(pointer, buffer.Length).Memory;
            Gather(FrameKind.Broadcast, nameof(Broadcast), Rank == root ? all : default, all, counts);
        }
    }

    /// <inheritdoc/>
    public void Barrier()
    {
        // One byte of each rank: nobody has them all before everybody has come.
        var counts = new int[World];
        counts.AsSpan().Fill(1);
        Gather(FrameKind.Barrier, nameof(Barrier), new byte[1], new byte[World], counts);
    }

    private static int ByteCount<T>(Span<T> buffer)
        where T : unmanaged => MemoryMarshal.AsBytes(buffer).Length;

    private void Sum(FrameKind kind, Memory<byte> buffer) => Run(SumOf(_blocking, kind, nameof(AllReduceSum), buffer));

    private Operation SumOf(Traffic traffic, FrameKind kind, string name, Memory<byte> buffer)
    {
        if (IsDirect && buffer.Length <= _options.DirectBytes)
        {
            return ExchangeOperation.ForSum(kind, traffic.NextSequence(), name, World, Rank, _options.PieceBytes, buffer);
        }

        var elementBytes = Reduction.ElementBytes(kind);
        var plan = RingPlan.ForSum(World, Rank, buffer.Length / elementBytes, elementBytes, _options.PieceBytes);
        return new RingOperation(kind, traffic.NextSequence(), name, World, Rank, plan, buffer);
    }

    private void Gather(FrameKind kind, string name, Memory<byte> mine, Memory<byte> all, ReadOnlySpan<int> counts) => Run(IsDirect
        ? ExchangeOperation.ForGather(kind, _blocking.NextSequence(), name, Rank, _options.PieceBytes, mine, all, counts)
        : new RingOperation(
            kind, _blocking.NextSequence(), name, World, Rank, RingPlan.ForGather(Rank, counts, _options.PieceBytes), all));

    private void Run(Operation operation)
    {
        _blocking.Begin(operation, background: false, _ended.Token);
        while (PatienceLeft(operation) is var left && left > TimeSpan.Zero)
        {
            if (operation.Wait(left))
            {
                return;
            }
        }

        AbortLate(operation);
        operation.Wait(_options.ConnectTimeout);
    }
}
