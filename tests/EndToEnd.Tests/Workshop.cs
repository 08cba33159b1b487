using System.Buffers.Binary;

[assembly: AssemblyFixture(typeof(DarkMatter.EndToEnd.Tests.Workshop))]
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace DarkMatter.EndToEnd.Tests;

/// <summary>
/// A folder for one test session with a small labelled dataset: four classes of striped images that pixels alone can tell apart only partly,
/// as an IDX pair, and a recipe that trains on it in seconds.
/// </summary>
public sealed class Workshop : IDisposable
{
    public const int TrainImages = 480;
    public const int TestImages = 120;
    private const int Side = 16;

    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("darkmatter-e2e");
    private int runs;
    private Task<Finished>? packed;

    public Workshop()
    {
        WriteIdx("train", TrainImages, seed: 1);
        WriteIdx("test", TestImages, seed: 2);
        WriteRecipe("small.yaml", Recipe);
    }

    /// <summary>The folder's full path: every command runs in it.</summary>
    public string Path => folder.FullName;

    /// <summary>A recipe of seconds.</summary>
    public const string Recipe = """
        name: small
        seed: 7
        data:
          dataset: data/train
          source: { idx: train-images, idx_labels: train-labels }
          evaluation: data/test
          evaluation_source: { idx: test-images, idx_labels: test-labels }
          lanes: 12
          block: 64
        views:
          - { count: 2, size: 16, scale: [0.5, 1.0] }
        model: { width: 8, stem: small_stride2 }
        method: { temperature: 0.2, projector_output: 32 }
        optimizer: { lr: 0.01, warmup: 0.5 }
        train: { batch: 48, epochs: 1000, max_steps: 20, precision: float32, checkpoint_every: 10, hash_every: 5 }
        evaluation: { knn: { k: 5 } }
        local: { trainers: 2, threads: 1 }
        """;

    /// <summary>Writes a recipe into the folder.</summary>
    public string WriteRecipe(string name, string text)
    {
        File.WriteAllText(In(name), text);
        return name;
    }

    /// <summary>A path in the folder.</summary>
    public string In(params string[] parts) => System.IO.Path.Combine([Path, .. parts]);

    /// <summary>A run's name that no other test has.</summary>
    public string NewRun(string about) => $"{about}-{Interlocked.Increment(ref runs)}";

    /// <summary>Packs the images, once.</summary>
    internal async Task PackAsync() => (await (packed ??= Command.RunAsync(Path, "pack", "--recipe", "small.yaml"))).ShouldEndWith(0);

    public void Dispose() => folder.Delete(recursive: true);

    private void WriteIdx(string name, int count, int seed)
    {
        var random = new Random(seed);
        var images = new byte[16 + (count * Side * Side)];
        BinaryPrimitives.WriteInt32BigEndian(images, 0x00000803);
        BinaryPrimitives.WriteInt32BigEndian(images.AsSpan(4), count);
        BinaryPrimitives.WriteInt32BigEndian(images.AsSpan(8), Side);
        BinaryPrimitives.WriteInt32BigEndian(images.AsSpan(12), Side);
        var labels = new byte[8 + count];
        BinaryPrimitives.WriteInt32BigEndian(labels, 0x00000801);
        BinaryPrimitives.WriteInt32BigEndian(labels.AsSpan(4), count);
        for (var i = 0; i < count; i++)
        {
            var label = i % 4;
            labels[8 + i] = (byte)label;
            var phase = random.Next(Side);
            for (var y = 0; y < Side; y++)
            {
                for (var x = 0; x < Side; x++)
                {
                    var along = label switch { 0 => x, 1 => y, 2 => x + y, _ => x - y + Side };
                    var stripe = (along + phase) % 6 < 3 ? 180 : 60;
                    images[16 + (((i * Side) + y) * Side) + x] = (byte)(stripe + random.Next(-40, 41));
                }
            }
        }
        File.WriteAllBytes(In(name + "-images"), images);
        File.WriteAllBytes(In(name + "-labels"), labels);
    }
}
