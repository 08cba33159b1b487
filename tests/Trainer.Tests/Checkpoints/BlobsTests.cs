using System.Buffers;
using DarkMatter.Trainer.Checkpoints;

namespace DarkMatter.Trainer.Tests.Checkpoints;

/// <summary>What every place for blobs promises.</summary>
[Collection(PlacesCollection.Name)]
public sealed class BlobsTests(Places places)
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(Places.Folder)]
    [InlineData(Places.Azure)]
    public async Task Put_ThenReadFindListDelete_AreOfOneMind(string place)
    {
        using var blobs = places.New(place);
        (await blobs.NamesAsync()).ShouldBeEmpty();
        (await blobs.FindAsync("5/a", Token)).ShouldBeNull();
        await Should.ThrowAsync<FileNotFoundException>(() => blobs.ReadAsync("5/a", 0, new byte[3], Token));

        (await blobs.PutAsync("5/a", [1, 2, 3])).ShouldBeTrue();
        (await blobs.PutAsync("50/b", [])).ShouldBeTrue();
        (await blobs.FindAsync("5/a", Token))!.Bytes.ShouldBe(3);
        (await blobs.FindAsync("50/b", Token))!.Bytes.ShouldBe(0);
        (await blobs.NamesAsync()).ShouldBe(["5/a", "50/b"]);
        (await blobs.NamesAsync("5/")).ShouldBe(["5/a"]);

        var part = new byte[5];
        (await blobs.ReadAsync("5/a", 1, part, Token)).ShouldBe(2);
        part.ShouldBe([2, 3, 0, 0, 0]);
        (await blobs.ReadAsync("5/a", 3, part, Token)).ShouldBe(0);

        await blobs.DeleteAsync("5/a", Token);
        await blobs.DeleteAsync("5/a", Token);
        (await blobs.NamesAsync()).ShouldBe(["50/b"]);
    }

    [Theory]
    [InlineData(Places.Folder)]
    [InlineData(Places.Azure)]
    public async Task Put_NameTakenOrTagOutdated_ChangesNothing(string place)
    {
        using var blobs = places.New(place);
        await blobs.PutAsync("5/a", [1]);
        (await blobs.PutAsync("5/a", [2, 2])).ShouldBeFalse();
        (await blobs.GetAsync("5/a")).ShouldBe([1]);

        var first = (await blobs.FindAsync("5/a", Token))!.Tag;
        (await blobs.PutAsync("5/a", [3, 3, 3], first)).ShouldBeTrue();
        (await blobs.PutAsync("5/a", [4, 4], first)).ShouldBeFalse();
        (await blobs.GetAsync("5/a")).ShouldBe([3, 3, 3]);
        (await blobs.PutAsync("5/none", [5], first)).ShouldBeFalse();
        (await blobs.NamesAsync()).ShouldBe(["5/a"], "no temporary files stay");
    }

    [Theory]
    [InlineData(Places.Folder, null)]
    [InlineData(Places.Azure, null)]
    [InlineData(Places.Folder, "tag")]
    [InlineData(Places.Azure, "tag")]
    public async Task Put_ManyAtOnceUnderOneCondition_ExactlyOneSucceeds(string place, string? replaces)
    {
        using var blobs = places.New(place);
        if (replaces is not null)
        {
            await blobs.PutAsync("5/a", [255, 255, 255]);
            replaces = (await blobs.FindAsync("5/a", Token))!.Tag;
        }

        var done = await Task.WhenAll(Enumerable.Range(0, 8).Select(i => Task.Run(() => blobs.PutAsync("5/a", [.. Enumerable.Repeat((byte)i, 1000 + i)], replaces), Token)));
        done.Count(success => success).ShouldBe(1);
        var winner = Array.IndexOf(done, true);
        (await blobs.GetAsync("5/a")).ShouldBe(Enumerable.Repeat((byte)winner, 1000 + winner));
    }

    [Theory]
    [InlineData(Places.Folder)]
    [InlineData(Places.Azure)]
    public async Task Put_SeveralBlocksOfSeveralSegments_ArriveInOrder(string place)
    {
        using var blobs = places.New(place);
        var segments = Enumerable.Range(0, 5).Select(i =>
        {
            var bytes = new byte[(4 << 20) + (i * 1237)];
            new Random(i).NextBytes(bytes);
            return bytes;
        }).ToArray();
        var content = SafetensorsWriter.Layout(segments.Select((bytes, i) => new SafetensorsItem($"t{i}", SafetensorsType.UInt8, [bytes.Length], bytes)));
        (await blobs.PutAsync("7/big", content, replaces: null, Token)).ShouldBeTrue();
        (await blobs.GetAsync("7/big")).AsSpan().SequenceEqual(content.ToArray()).ShouldBeTrue();
        (await blobs.PutAsync("7/big", content, replaces: null, Token)).ShouldBeFalse();
    }

    [Fact]
    public async Task Names_OutsideOfTheFolder_AreRefused()
    {
        using var blobs = places.New(Places.Folder);
        await Should.ThrowAsync<ArgumentException>(async () => await blobs.PutAsync("../x", [1]));
        await Should.ThrowAsync<ArgumentException>(async () => await blobs.FindAsync("/etc/passwd", Token));
    }
}
