using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DarkMatter.Trainer.Banks;

/// <summary>
/// What a method remembers of images that are not in the batch: rows [L, D] on the trainer's device, the same on every rank after every step. A method
/// fetches in its loss what a step is to write (that is the only talk between ranks) and hands it over after the update, so that a step that is broken
/// off writes nothing. The rows are part of the network's state: checkpoints hold them, ranks that join copy them, and their hash is compared with the rest.
/// </summary>
/// <remarks>
/// N images on all ranks · L rows · D dimensions · s staleness. The rows of a step stand in the order of the global batch, which is that of the lanes: no
/// world size changes it. Rows that staleness holds back wait in s places of N rows.
/// </remarks>
public abstract class Bank : Module
{
    private readonly BankOptions _options;
    private readonly Lock _writing = new();

    /// <summary>Makes room for what is held back; the rows are the subclass's.</summary>
    /// <param name="kind">The module's name.</param>
    /// <param name="length">L.</param>
    /// <param name="batch">N.</param>
    /// <param name="dimensions">D.</param>
    /// <param name="options">Precision and staleness.</param>
    protected Bank(string kind, long length, int batch, int dimensions, BankOptions options)
        : base(kind)
    {
        (_options, Length, Batch, Dimensions) = (options, length, batch, dimensions);
        register_buffer("updates", zeros(Array.Empty<long>(), dtype: ScalarType.Int64));
        if (options.Staleness == 0)
            return;
        register_buffer("held", zeros(options.Staleness, batch, dimensions, dtype: Stored));
        register_buffer("held_places", zeros(options.Staleness, batch, dtype: ScalarType.Int64));
    }

    /// <summary>L.</summary>
    public long Length { get; }

    /// <summary>N, the rows that an update writes at most.</summary>
    public int Batch { get; }

    /// <summary>D.</summary>
    public int Dimensions { get; }

    /// <summary>Whether rows are kept in a precision of their own, whatever the networks compute in.</summary>
    public bool KeepsFloat16 => _options.Float16;

    /// <summary>Updates that have written here.</summary>
    public long Updates => Buffer("updates").item<long>();

    /// <summary>Updates whose rows can be seen: s fewer.</summary>
    public long Visible => Math.Max(0, Updates - _options.Staleness);

    /// <summary>Bytes of all rows, visible and held back.</summary>
    public long Bytes => named_buffers().Sum(b => b.buffer.numel() * b.buffer.ElementSize);

    /// <summary>Bytes of a row where it leaves this process: float16 or float32.</summary>
    public int RowBytes => Dimensions * (_options.Float16 ? 2 : 4);

    /// <summary>The rows that the last update made visible; null where staleness holds them back.</summary>
    internal BankWrite? Newest { get; private set; }

    /// <summary>What rows are kept in before the network is given its precision.</summary>
    protected ScalarType Stored => _options.Float16 ? ScalarType.Float16 : ScalarType.Float32;

    /// <summary>The fingerprint of all that is kept; equal on all ranks after every step.</summary>
    public ulong Hash() => StateHash.Of(named_buffers().Select(b => b.buffer));

    /// <summary>Visible rows from one on, as they leave this process, and the update they are as of. From any thread while training goes on.</summary>
    internal (long Update, byte[] Rows) Snapshot(long first, int count)
    {
        lock (_writing)
        {
            using var scope = NewDisposeScope();
            return (Visible, HostBytes(Slice(first, count)));
        }
    }

    /// <summary>Rows as they leave this process.</summary>
    internal byte[] HostBytes(Tensor rows)
    {
        if (rows.numel() == 0)
            return [];
        using var _ = no_grad();
        using var host = rows.detach().to(Stored).cpu().contiguous();
        return host.bytes.ToArray();
    }

    /// <summary>Visible rows from one on: [count, D].</summary>
    protected abstract Tensor Slice(long first, int count);

    /// <summary>This rank's rows, as all ranks will keep them, of every rank in batch order: [n, D] → [N, D]. Call it in the loss.</summary>
    protected Tensor Gathered(Tensor rows, RankShare share)
    {
        using var _ = no_grad();
        return share.Ranks.AllGather(Rounded(rows), share.Counts);
    }

    /// <summary>Rows in the precision in which they travel and are kept.</summary>
    protected Tensor Rounded(Tensor rows) => _options.Float16 ? rows.detach().to(ScalarType.Float16) : rows.detach();

    /// <summary>
    /// Rows of some places as they will be once nothing is held back: what the next update of a place builds on. The updates that staleness hides are
    /// made all the same.
    /// </summary>
    /// <param name="places">k places.</param>
    /// <param name="visible">Their visible rows: [k, D].</param>
    protected Tensor WithHeld(IReadOnlyList<long> places, Tensor visible)
    {
        if (_options.Staleness == 0 || Updates == 0)
            return visible;
        using var _ = no_grad();
        var (rows, heldPlaces) = (Buffer("held"), Buffer("held_places").cpu().data<long>().ToArray());
        var newest = new Dictionary<long, long>();                            // place → row of [s · N, D]
        for (var update = Visible + 1; update <= Updates; update++)
        {
            var slot = (update - 1) % _options.Staleness;
            for (var at = slot * Batch; at < (slot + 1) * Batch; at++)
                newest[heldPlaces[at]] = at;
        }

        var found = places.Index().Where(place => newest.ContainsKey(place.Item)).ToList();
        if (found.Count == 0)
            return visible;
        var to = tensor(found.Select(place => (long)place.Index).ToArray(), device: visible.device);
        var from = tensor(found.Select(place => newest[place.Item]).ToArray(), device: visible.device);
        return visible.clone().index_copy_(0, to, rows.view(-1, Dimensions).index_select(0, from).to(visible.dtype));
    }

    /// <summary>Takes the rows of update <paramref name="step"/>; those of s updates before become visible.</summary>
    /// <param name="places">Of each row, 0 to L − 1; of rows with one place the last counts.</param>
    /// <param name="rows">[N, D].</param>
    /// <param name="step">Updates applied, this one included: one more than at the last call.</param>
    protected void Record(long[] places, Tensor rows, long step)
    {
        if (step != Updates + 1)
            throw new InvalidOperationException($"the bank has the rows of {Updates} updates; those of update {step} cannot follow");
        using var _ = no_grad();
        using var writing = _writing.EnterScope();
        Newest?.Rows.Dispose();
        Newest = null;
        if (_options.Staleness == 0)
        {
            Show(step, places, rows);
        }
        else
        {
            var slot = (step - 1) % _options.Staleness;
            var (held, heldPlaces) = (Buffer("held").select(0, slot), Buffer("held_places").select(0, slot));
            if (step > _options.Staleness)
                Show(step - _options.Staleness, heldPlaces.cpu().data<long>().ToArray(), held.clone());
            held.copy_(rows);
            heldPlaces.copy_(tensor(places));
        }

        Buffer("updates").fill_(step);
    }

    /// <summary>Overwrites visible rows.</summary>
    protected abstract void Put(long[] places, Tensor rows);

    /// <summary>A buffer of this module; asked for by name, for moving a network to a device replaces them.</summary>
    protected Tensor Buffer(string name) => get_buffer(name)!;

    private void Show(long update, long[] places, Tensor rows)
    {
        Put(places, rows);
        Newest = new BankWrite(update, places, rows.DetachFromDisposeScope());
    }
}

/// <summary>Rows that became visible on every rank.</summary>
/// <param name="Update">The update that wrote them.</param>
/// <param name="Places">Of each row.</param>
/// <param name="Rows">[N, D].</param>
internal sealed record BankWrite(long Update, long[] Places, Tensor Rows);
