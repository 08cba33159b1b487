using DarkMatter.Trainer.Methods;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Trainer.Banks;

/// <summary>
/// The keys of the last L images, of which every step's replace the oldest. It starts with random directions, as that of MoCo's authors does
/// (<c>moco/builder.py</c>).
/// </summary>
public sealed class KeyQueue : Bank
{
    /// <summary>Makes a full queue from torch's current random state.</summary>
    /// <param name="length">L, a multiple of the global batch: the oldest batch leaves whole.</param>
    /// <param name="batch">N.</param>
    /// <param name="dimensions">D.</param>
    /// <param name="options">Precision and staleness.</param>
    /// <exception cref="ArgumentException">Whole batches do not fill it.</exception>
    public KeyQueue(int length, int batch, int dimensions, BankOptions options)
        : base(nameof(KeyQueue), length, batch, dimensions, options)
    {
        if (batch < 1 || length < batch || length % batch != 0)
            throw new ArgumentException($"a queue of {length} keys is not filled by whole batches of {batch}: the oldest batch leaves whole", nameof(length));
        // Each of these is as large as the queue, and would stay until the garbage collector or a scope ends it.
        using var random = randn(length, dimensions);
        using var unit = normalize(random, dim: 1);
        using var stored = unit.to(Stored);
        register_buffer("keys", stored.clone());
    }

    /// <summary>
    /// [L, D], newest and oldest where they happen to be. The queue itself, not a copy, where <paramref name="type"/> is what it is kept in; else all of it is
    /// converted, at every call, and what a loss makes of it keeps that copy until its backward pass is over (65,536 × 128: 33.6 MB in float32).
    /// </summary>
    public Tensor Keys(ScalarType type) => Buffer("keys").to(type);

    /// <summary>The keys of the global batch, from this rank's: [n, D] → [N, D]. Call it in the loss.</summary>
    public Tensor Gather(Tensor keys, RankShare share) => Gathered(keys, share).to(keys.dtype);

    /// <summary>Keys as every rank will keep them, for those who gather by themselves.</summary>
    public Tensor Round(Tensor keys) => Rounded(keys);

    /// <summary>Puts the global batch's keys, [N, D], in the place of the oldest. Call it after the update.</summary>
    /// <param name="keys">From <see cref="Gather"/>.</param>
    /// <param name="step">Updates applied, this one included.</param>
    public void Append(Tensor keys, long step)
    {
        var first = (step - 1) * keys.shape[0] % Length;
        Record([.. Enumerable.Range(0, (int)keys.shape[0]).Select(i => first + i)], keys, step);
    }

    /// <inheritdoc/>
    protected override Tensor Slice(long first, int count) => Buffer("keys").narrow(0, first, count);

    /// <inheritdoc/>
    protected override void Put(long[] places, Tensor rows) => Buffer("keys").narrow(0, places[0], places.Length).copy_(rows);
}
