using System.Runtime.InteropServices;
using DarkMatter.Protocol;
using Grpc.Core;

namespace DarkMatter.Trainer.Banks;

/// <summary>
/// A bank of some run as its silo knows it, brought up to date by what changed: for other runs, evaluations and tools. The trainers of the run itself do not
/// need it. One reading at a time.
/// </summary>
/// <param name="client">The silo.</param>
/// <param name="run">The run.</param>
/// <param name="bank">The bank's name in the run's network, as in <c>queue</c>.</param>
public sealed class BankReader(Protocol.Banks.BanksClient client, string run, string bank)
{
    private readonly List<BankCursor> _known = [];

    /// <summary>The rows, one after the other: [L, RowBytes].</summary>
    public byte[] Rows { get; private set; } = [];

    /// <summary>Bytes of a row.</summary>
    public int RowBytes { get; private set; }

    /// <summary>Updates whose rows are all here; −1: the silo is still being given them.</summary>
    public long Step { get; private set; } = -1;

    /// <summary>Rows that the last reading brought.</summary>
    public long Received { get; private set; }

    /// <summary>Brings what changed since the last reading; the first brings all.</summary>
    /// <param name="deadline">How long it may take.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="RpcException">The silo is away or has no such bank; what was read before stays.</exception>
    public async Task ReadAsync(TimeSpan deadline, CancellationToken cancellationToken)
    {
        var request = new BankReadRequest { Run = run, Bank = bank };
        request.Known.AddRange(_known);
        using var call = client.Read(request, deadline: DateTime.UtcNow + deadline, cancellationToken: cancellationToken);
        (Received, var step) = (0, long.MaxValue);
        await foreach (var part in call.ResponseStream.ReadAllAsync(cancellationToken))
        {
            Take(part);
            step = Math.Min(step, part.Step);
        }

        Step = step;
    }

    private void Take(BankPart part)
    {
        if (Rows.LongLength != part.BankRows * part.RowBytes)
            (Rows, RowBytes) = (new byte[part.BankRows * part.RowBytes], part.RowBytes);
        while (_known.Count <= part.Partition)
            _known.Add(new BankCursor());
        if (part.Whole)
        {
            var partition = new Grains.BankShape(part.BankRows, part.RowBytes, 1);
            Array.Clear(Rows, checked((int)((long)part.Partition * partition.PartitionRows * RowBytes)), partition.RowsOf(part.Partition) * RowBytes);
            _known[part.Partition] = new BankCursor();
        }

        var rows = part.Rows.Span;
        for (var i = 0; i < rows.Length / RowBytes; i++)
        {
            var place = part.Places.Count > 0 ? part.Places[i] : part.FirstPlace + i;
            rows.Slice(i * RowBytes, RowBytes).CopyTo(Rows.AsSpan(checked((int)(place * RowBytes)), RowBytes));
        }

        Received += rows.Length / RowBytes;
        if (part.Last)
            _known[part.Partition] = part.Cursor;
    }

    /// <summary>The rows as numbers, where they are float32.</summary>
    public ReadOnlySpan<float> Floats => MemoryMarshal.Cast<byte, float>(Rows);
}
