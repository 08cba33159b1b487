using System.Formats.Tar;
using System.Text;

namespace DarkMatter.Data.Tests.Shards;

/// <summary>Our tars against the runtime's System.Formats.Tar, in both directions.</summary>
public class TarTests
{
    private static readonly string LongFolder = string.Join('/', Enumerable.Repeat("folder", 20));

    public static TheoryData<string> Names =>
    [
        "a.jpg", "dir/b.png", $"{LongFolder}/name.jpg", new string('n', 99) + ".jpg", $"{LongFolder}/{new string('m', 120)}.jpg", "größe/写真.jpg",
    ];

    [Theory]
    [MemberData(nameof(Names))]
    public void Writer_AnyName_IsReadByTheRuntime(string name)
    {
        using var stream = new MemoryStream();
        var writer = new DarkMatter.Data.TarWriter(stream);
        var contents = new[] { 0, 1, 511, 512, 513 }.Select(length => Enumerable.Range(0, length).Select(i => (byte)i).ToArray()).ToArray();
        var offsets = contents.Select((content, i) => writer.Add($"{i}{name}", content)).ToArray();
        writer.Finish();

        stream.Length.ShouldBe(writer.Length);
        stream.Position = 0;
        using var reader = new System.Formats.Tar.TarReader(stream);
        for (var i = 0; i < contents.Length; i++)
        {
            var entry = reader.GetNextEntry(copyData: true).ShouldNotBeNull();
            entry.Name.ShouldBe($"{i}{name}");
            var data = new MemoryStream();
            entry.DataStream?.CopyTo(data);
            data.ToArray().ShouldBe(contents[i]);
            stream.ToArray().AsSpan((int)offsets[i], contents[i].Length).ToArray().ShouldBe(contents[i]);
        }

        reader.GetNextEntry().ShouldBeNull();
    }

    [Theory]
    [InlineData(TarEntryFormat.Ustar)]
    [InlineData(TarEntryFormat.Pax)]
    [InlineData(TarEntryFormat.Gnu)]
    [InlineData(TarEntryFormat.V7)]
    public async Task Reader_EveryFormatOfTheRuntime_FindsNamesAndContents(TarEntryFormat format)
    {
        using var scratch = new Scratch();
        var names = new List<string> { "a.jpg", "dir/b.jpg" };
        if (format is not TarEntryFormat.V7)
            names.Add($"{LongFolder}/name.jpg");
        if (format is TarEntryFormat.Pax or TarEntryFormat.Gnu)
            names.AddRange([$"{LongFolder}/{new string('m', 120)}.jpg", "größe/写真.jpg"]);
        using (var file = File.Create(scratch["a.tar"]))
        using (var writer = new System.Formats.Tar.TarWriter(file, format))
        {
            writer.WriteEntry(Entry(format, TarEntryType.Directory, "dir/", null));
            foreach (var name in names)
                writer.WriteEntry(Entry(format, format == TarEntryFormat.V7 ? TarEntryType.V7RegularFile : TarEntryType.RegularFile, name, Encoding.UTF8.GetBytes(name)));
        }

        using var store = new FileBlobStore(scratch.Root);
        var reader = new DarkMatter.Data.TarReader(store, "a.tar", new FileInfo(scratch["a.tar"]).Length);
        foreach (var name in names)
        {
            var member = (await reader.NextAsync(default)).ShouldNotBeNull();
            member.Name.ShouldBe(name);
            var content = new byte[member.Size];
            await store.ReadAsync("a.tar", member.Offset, content, default);
            Encoding.UTF8.GetString(content).ShouldBe(name);
        }

        (await reader.NextAsync(default)).ShouldBeNull();
    }

    [Fact]
    public async Task Reader_ManyMembersAcrossItsWindow_FindsAll()
    {
        using var scratch = new Scratch();
        using (var file = File.Create(scratch["a.tar"]))
        {
            var writer = new DarkMatter.Data.TarWriter(file);
            for (var i = 0; i < 2000; i++)
                writer.Add($"{i}.jpg", new byte[i * 7 % 3000]);
            writer.Finish();
        }

        using var store = new FileBlobStore(scratch.Root);
        var reader = new DarkMatter.Data.TarReader(store, "a.tar", new FileInfo(scratch["a.tar"]).Length);
        for (var i = 0; i < 2000; i++)
            (await reader.NextAsync(default)).ShouldNotBeNull().ShouldSatisfyAllConditions(m => m.Name.ShouldBe($"{i}.jpg"), m => m.Size.ShouldBe(i * 7 % 3000));
        (await reader.NextAsync(default)).ShouldBeNull();
    }

    private static TarEntry Entry(TarEntryFormat format, TarEntryType type, string name, byte[]? content)
    {
        TarEntry entry = format switch
        {
            TarEntryFormat.Ustar => new UstarTarEntry(type, name),
            TarEntryFormat.Pax => new PaxTarEntry(type, name),
            TarEntryFormat.Gnu => new GnuTarEntry(type, name),
            _ => new V7TarEntry(type, name),
        };
        if (content is not null)
            entry.DataStream = new MemoryStream(content);
        return entry;
    }
}
