using System.Globalization;
using DarkMatter.Data;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace DarkMatter.Trainer.Banks;

/// <summary>
/// One row for each image of the dataset: an average of its embeddings, m ← unit(μ · m + (1 − μ) · v). Source: Wu et al. 2018 (instance discrimination),
/// section 3.2; Misra and van der Maaten 2020 (PIRL), section 3.2, μ = 0.5.
/// </summary>
/// <remarks>
/// Rows lie in partitions of <see cref="PartitionRows"/> images, so that checkpoints and heals share them out. An image that was not seen yet has a
/// row of zeros and reads as a random direction of its own. 1.3 M × 128 take 666 MB in float32 and 333 MB in float16, allocated from the start.
/// </remarks>
public sealed class ImageMemory : Bank
{
    /// <summary>Rows of a partition.</summary>
    public const int PartitionRows = 65_536;

    private const int Directions = 4096;

    /// <summary>A partition's name in the state is this and its number.</summary>
    private const string Partition = "rows_";

    /// <summary>Makes an empty memory; the random directions come from torch's current random state.</summary>
    /// <param name="images">L, the images of the dataset.</param>
    /// <param name="batch">N.</param>
    /// <param name="dimensions">D.</param>
    /// <param name="options">Precision and staleness.</param>
    /// <exception cref="ArgumentException">The number of images is not known.</exception>
    public ImageMemory(long images, int batch, int dimensions, BankOptions options)
        : base(nameof(ImageMemory), images, batch, dimensions, options)
    {
        if (images < 1)
            throw new ArgumentException("a memory of every image needs the number of images in the dataset (MethodSetup.Images)", nameof(images));
        register_buffer("directions", normalize(randn(Math.Min(images, Directions), dimensions), dim: 1).to(Stored));
        for (long first = 0; first < images; first += PartitionRows)
            register_buffer(Name(first / PartitionRows), zeros(Math.Min(PartitionRows, images - first), dimensions, dtype: Stored));
    }

    /// <summary>The rows of some images, in their order: [k, D].</summary>
    /// <param name="images">Numbers in the dataset, 0 to L − 1.</param>
    /// <param name="type">The precision to compute in.</param>
    public Tensor Read(IReadOnlyList<long> images, ScalarType type)
    {
        using var _ = no_grad();
        var directions = Buffer("directions");
        var rows = empty([images.Count, Dimensions], dtype: directions.dtype, device: directions.device);
        foreach (var part in images.Index().GroupBy(image => image.Item / PartitionRows))
        {
            var at = tensor(part.Select(image => (long)image.Index).ToArray(), device: rows.device);
            rows.index_copy_(0, at, Buffer(Name(part.Key)).index_select(0, tensor(part.Select(image => image.Item % PartitionRows).ToArray(), device: rows.device)));
        }

        rows = rows.to(type);
        var blank = (rows * rows).sum(1, keepdim: true).eq(0);                // [k, 1]
        return where(blank, Random(images).to(type), rows);
    }

    /// <summary>One of P directions with the signs of another: P² that are as good as orthogonal, at the price of P.</summary>
    private Tensor Random(IReadOnlyList<long> images)
    {
        var directions = Buffer("directions");
        var count = directions.shape[0];
        Tensor Chosen(Func<long, long> of) => directions.index_select(0, tensor(images.Select(of).ToArray(), device: directions.device));
        var signs = Chosen(image => image / count % count).lt(0).to(directions.dtype);    // 1 where negative
        return Chosen(image => image % count) * (1 - (2 * signs));
    }

    /// <summary>The rows of neighbouring images as they are kept, zeros where an image was not seen yet: [end − first, D].</summary>
    /// <param name="first">The first image.</param>
    /// <param name="end">One more than the last.</param>
    /// <param name="type">The precision to compute in.</param>
    public Tensor Rows(long first, long end, ScalarType type)
    {
        using var _ = no_grad();
        var parts = new List<Tensor> { zeros([0, Dimensions], dtype: type, device: Buffer("directions").device) };
        for (var at = first; at < end; at = Math.Min(end, ((at / PartitionRows) + 1) * PartitionRows))
            parts.Add(Buffer(Name(at / PartitionRows)).narrow(0, at % PartitionRows, Math.Min(end - at, PartitionRows - (at % PartitionRows))).to(type));
        return cat([.. parts]);
    }

    /// <summary>The images that were seen, in ascending order.</summary>
    public long[] Seen()
    {
        using var _ = no_grad();
        return [.. Enumerable.Range(0, (int)((Length + PartitionRows - 1) / PartitionRows)).SelectMany(partition =>
            Buffer(Name(partition)).abs().sum(1).gt(0).nonzero().flatten().cpu().data<long>().ToArray().Select(row => (partition * (long)PartitionRows) + row))];
    }

    /// <summary>Images for negatives: the same on every rank, each once, others at every update.</summary>
    /// <param name="count">How many; at most L.</param>
    public long[] Draw(int count)
    {
        var order = new Feistel(new KeyedRandom(0).With(Updates).Key, Length);
        return [.. Enumerable.Range(0, (int)Math.Min(count, Length)).Select(i => order[i])];
    }

    /// <summary>
    /// What the global batch's images will be remembered as. Call it in the loss; the result goes to <see cref="Follow"/>. An image is mixed with the newest
    /// it has, also where staleness does not show that yet, so that no update is lost.
    /// </summary>
    /// <param name="embeddings">v of this rank's images, unit rows: [n, D].</param>
    /// <param name="momentum">μ.</param>
    /// <param name="share">Says which images they are.</param>
    public ImageRows Gather(Tensor embeddings, double momentum, RankShare share)
    {
        using var _ = no_grad();
        var before = WithHeld(share.Images, Read(share.Images, embeddings.dtype));
        var mixed = normalize((before * momentum) + (embeddings.detach() * (1 - momentum)), dim: 1);
        var images = share.Ranks.AllGather(tensor(share.Images.ToArray()), share.Counts);
        return new ImageRows(images.data<long>().ToArray(), Gathered(mixed, share));
    }

    /// <summary>The images' rows become these. Call it after the update.</summary>
    /// <param name="newest">From <see cref="Gather"/>.</param>
    /// <param name="step">Updates applied, this one included.</param>
    public void Follow(ImageRows newest, long step) => Record(newest.Images, newest.Rows, step);

    /// <inheritdoc/>
    protected override Tensor Slice(long first, int count)
    {
        var parts = new List<Tensor>();
        for (var at = first; at < first + count;)
        {
            var (partition, row) = (at / PartitionRows, at % PartitionRows);
            var length = Math.Min(PartitionRows - row, first + count - at);
            parts.Add(Buffer(Name(partition)).narrow(0, row, length));
            at += length;
        }

        return cat([.. parts]);
    }

    /// <inheritdoc/>
    protected override void Put(long[] places, Tensor rows)
    {
        // A batch that spans two epochs may hold an image twice: the later one counts.
        foreach (var part in places.Index().GroupBy(place => place.Item).Select(same => same.Last()).GroupBy(place => place.Item / PartitionRows))
        {
            var from = tensor(part.Select(place => (long)place.Index).ToArray(), device: rows.device);
            var to = tensor(part.Select(place => place.Item % PartitionRows).ToArray(), device: rows.device);
            var partition = Buffer(Name(part.Key));
            partition.index_copy_(0, to, rows.index_select(0, from).to(partition.dtype));
        }
    }

    /// <summary>L of a checkpoint's memory, by the shapes of its partitions; 0 where it has none. A method that has several gives all of them the same.</summary>
    /// <param name="tensors">What the checkpoint holds.</param>
    internal static long ImagesIn(IEnumerable<SafetensorsEntry> tensors) => tensors
        .Select(tensor => (tensor.Shape, Module: tensor.Name[..(tensor.Name.LastIndexOf('.') + 1)], Own: tensor.Name[(tensor.Name.LastIndexOf('.') + 1)..]))
        .Where(tensor => tensor.Own.StartsWith(Partition, StringComparison.Ordinal) && tensor.Shape is [_, > 0])
        .GroupBy(tensor => tensor.Module)
        .Select(memory => memory.Sum(partition => partition.Shape[0]))
        .FirstOrDefault();

    private static string Name(long partition) => Partition + partition.ToString(CultureInfo.InvariantCulture);
}

/// <summary>New rows of images.</summary>
/// <param name="Images">Their numbers in the dataset, in batch order.</param>
/// <param name="Rows">[N, D].</param>
public sealed record ImageRows(long[] Images, Tensor Rows);
