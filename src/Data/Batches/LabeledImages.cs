namespace DarkMatter.Data;

/// <summary>Images with their classes, decoded and ready for evaluation.</summary>
public sealed class LabeledImages
{
    private LabeledImages(byte[] images, int[] labels, string[] keys, int size)
    {
        Images = images;
        Labels = labels;
        Keys = keys;
        Size = size;
    }

    /// <summary>uint8 [Count, Size, Size, 3], RGB.</summary>
    public byte[] Images { get; }

    /// <summary>The class of each image, from its <c>.cls</c> member.</summary>
    public int[] Labels { get; }

    /// <summary>The samples' keys, in the order of the catalog.</summary>
    public IReadOnlyList<string> Keys { get; }

    /// <summary>Height and width, pixels.</summary>
    public int Size { get; }

    /// <summary>The number of images.</summary>
    public int Count => Labels.Length;

    /// <summary>
    /// Loads the first images of a dataset in catalog order: the largest centred square, resized (torchvision's
    /// <c>Resize(size)</c> and <c>CenterCrop(size)</c>). Broken images are an error here: evaluation must not silently change its set.
    /// </summary>
    /// <param name="datasetPath">The dataset folder.</param>
    /// <param name="size">Height and width, pixels.</param>
    /// <param name="limit">The most images; 0 loads all.</param>
    /// <param name="cancellation">Ends the load.</param>
    /// <exception cref="DatasetException">The dataset is missing or damaged, an image is broken, or a sample has no class.</exception>
    public static LabeledImages Load(string datasetPath, int size, int limit = 0, CancellationToken cancellation = default) =>
        throw new InvalidOperationException($"{datasetPath} {size} {limit} {cancellation}");
}
