using DarkMatter.Data;

namespace DarkMatter.Trainer.Tests.Evaluation;

/// <summary>Images of three classes that brightness tells: dark, dark at the left, dark at the right; and noise.</summary>
internal static class SmallDataset
{
    /// <summary>Packs labelled images into <paramref name="folder"/>/<paramref name="name"/> and gives its path.</summary>
    public static async Task<string> PackAsync(string folder, string name, int count, int size, int seed)
    {
        var (random, files, packed) = (new Random(seed), Path.Combine(folder, name + "-files"), Path.Combine(folder, name));
        using var codec = new ImageCodec();
        for (var i = 0; i < count; i++)
        {
            var label = i % 3;
            byte[] pixels = [.. Enumerable.Range(0, size * size).SelectMany(p =>
            {
                var dark = label == 0 || (label == 1) == (p % size < size / 2);
                return Enumerable.Range(0, 3).Select(_ => (byte)((dark ? 30 : 200) + random.Next(40)));
            })];
            var place = Directory.CreateDirectory(Path.Combine(files, $"class{label}"));
            await File.WriteAllBytesAsync(Path.Combine(place.FullName, $"{i}.png"), codec.EncodePng(pixels, size, size, 3).ToArray());
        }

        await PackJob.RunAsync(new PackOptions { Source = new PackSource.Folder(files, LabelsFromFolders: true), Destination = packed });
        return packed;
    }
}
