using System.Diagnostics;
using System.Runtime.InteropServices;
using DarkMatter.Protocol;
using Grpc.Core;

namespace DarkMatter.Trainer.Banks;

/// <summary>
/// A bank of some run as its silo knows it, brought up to date by what changed: for other runs, evaluations and tools. The trainers of the run itself do not
/// need it. What a reader has is the rows of one step, all of them, or it says that it has not. One reading at a time.
/// </summary>
/// <param name="client">The silo.</param>
/// <param name="run">The run.</param>
/// <param name="bank">The bank's name in the run's network, as in <c>queue</c>.</param>
public sealed class BankReader(Protocol.Banks.BanksClient client, string run, string bank)
{
    /// <summary>
    /// So often a reading is repeated whose partitions were not of one step, because training went on between them; each time only what changed meanwhile comes.
    /// </summary>
    public const int MostTries = 8;

    private readonly List<BankCursor> _known = [];

    /// <summary>The rows, one after the other: [L, RowBytes].</summary>
    public byte[] Rows { get; private set; } = [];

    /// <summary>Bytes of a row.</summary>
    public int RowBytes { get; private set; }

    /// <summary>
    /// Updates that <see cref="Rows"/> have seen. −1: they are rows of no one step, since the silo is still being given them, or a reading failed, or the
    /// steps came faster than the partitions could be read; the next reading goes on from there.
    /// </summary>
    public long Step { get; private set; } = -1;

    /// <summary>The generation that the run was in at this step; −1 where <see cref="Step"/> is.</summary>
    public long Generation { get; private set; } = -1;

    /// <summary>Rows that the last reading brought.</summary>
    public long Received { get; private set; }

    /// <summary>Brings what changed since the last reading; the first brings all.</summary>
    /// <param name="deadline">How long it may take.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="RpcException">The silo is away or has no such bank.</exception>
    public async Task ReadAsync(TimeSpan deadline, CancellationToken cancellationToken)
    {
        (Received, Step, Generation) = (0, -1, -1);
        var clock = Stopwatch.StartNew();
        for (var tries = 0; tries < MostTries; tries++)
        {
            var stands = await ReadOnceAsync(deadline - clock.Elapsed, cancellationToken);
            if (stands is [var (step, generation)])
            {
                (Step, Generation) = (step, step < 0 ? -1 : generation);
                return;
            }

            if (stands.Any(at => at.Step < 0))
                return;
        }
    }

    /// <summary>Where the partitions stand: one step and generation, unless something came between them.</summary>
    private async Task<List<(long Step, long Generation)>> ReadOnceAsync(TimeSpan left, CancellationToken cancellationToken)
    {
        var request = new BankReadRequest { Run = run, Bank = bank };
        request.Known.AddRange(_known);
        using var call = client.Read(request, deadline: DateTime.UtcNow + left, cancellationToken: cancellationToken);
        var stands = new HashSet<(long, long)>();
        await foreach (var part in call.ResponseStream.ReadAllAsync(cancellationToken))
        {
            Take(part);
            stands.Add((part.Step, part.Generation));
        }

        return [.. stands];
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
