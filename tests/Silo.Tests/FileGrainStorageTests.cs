using Orleans;
using Orleans.Runtime;
using Orleans.Storage;

namespace DarkMatter.Silo.Tests;

public sealed class Note
{
    public string Text { get; set; } = "";

    public double Number { get; set; }
}

public sealed class FileGrainStorageTests : IDisposable
{
    private static readonly GrainId s_grain = GrainId.Create("run", "demo/0001");

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private static GrainState<Note> New(string text = "") => new(new Note { Text = text });

    private string PathOfNote()
    {
        using var storage = new FileGrainStorage(_folder.Path);
        return storage.PathOf("note", s_grain);
    }

    private async Task Write(params string[] texts)
    {
        using var storage = new FileGrainStorage(_folder.Path);
        var state = New();
        await storage.ReadStateAsync("note", s_grain, state);
        foreach (string text in texts)
        {
            state.State.Text = text;
            await storage.WriteStateAsync("note", s_grain, state);
        }
    }

    private async Task<GrainState<Note>> Read()
    {
        using var storage = new FileGrainStorage(_folder.Path);
        var state = New("before");
        await storage.ReadStateAsync("note", s_grain, state);
        return state;
    }

    [Fact]
    public async Task State_SurvivesTheStorage_KeysMayHaveAnyCharacter()
    {
        (await Read()).RecordExists.ShouldBeFalse();
        await Write("one", "two\n{\"half\":");
        var read = await Read();
        read.State.Text.ShouldBe("two\n{\"half\":");
        read.RecordExists.ShouldBeTrue();
        read.ETag.ShouldBe("2");
        PathOfNote().ShouldBe(Path.Combine(_folder.Path, "note", "run", "demo%2F0001.json"));
    }

    [Fact]
    public async Task NamedNumbers_AreKept()
    {
        using var storage = new FileGrainStorage(_folder.Path);
        var state = New();
        state.State.Number = double.NaN;
        await storage.WriteStateAsync("note", s_grain, state);
        var read = New();
        await storage.ReadStateAsync("note", s_grain, read);
        read.State.Number.ShouldBe(double.NaN);
    }

    [Fact]
    public async Task SecondWriter_GetsAConflict_WithBothTags()
    {
        using var storage = new FileGrainStorage(_folder.Path);
        var a = New("a");
        var b = New("b");
        await storage.WriteStateAsync("note", s_grain, a);
        var conflict = await Should.ThrowAsync<InconsistentStateException>(() => storage.WriteStateAsync("note", s_grain, b));
        conflict.StoredEtag.ShouldBe("1");
        conflict.CurrentEtag.ShouldBeNull();
        await Should.ThrowAsync<InconsistentStateException>(() => storage.ClearStateAsync("note", s_grain, b));
        await storage.ReadStateAsync("note", s_grain, b);
        b.State.Text.ShouldBe("a");
        await storage.WriteStateAsync("note", s_grain, b);
        await Should.ThrowAsync<InconsistentStateException>(() => storage.WriteStateAsync("note", s_grain, a));
    }

    [Fact]
    public async Task ManyWriters_LoseNoUpdate()
    {
        using var storage = new FileGrainStorage(_folder.Path);
        using var start = new Barrier(4);
        int conflicts = 0;
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Factory.StartNew(
            async () =>
            {
                start.SignalAndWait(SiloProcess.Patience);
                for (int done = 0; done < 10;)
                {
                    var state = New();
                    await storage.ReadStateAsync("note", s_grain, state);
                    state.State.Number++;
                    try
                    {
                        await storage.WriteStateAsync("note", s_grain, state);
                        done++;
                    }
                    catch (InconsistentStateException)
                    {
                        Interlocked.Increment(ref conflicts);
                    }
                }
            },
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default).Unwrap()));
        var last = New();
        await storage.ReadStateAsync("note", s_grain, last);
        last.State.Number.ShouldBe(40, $"{conflicts} conflicts");
        last.ETag.ShouldBe("40");
    }

    [Fact]
    public async Task Clearing_RemovesTheFile()
    {
        await Write("one", "two");
        using (var storage = new FileGrainStorage(_folder.Path))
        {
            var state = New();
            await storage.ReadStateAsync("note", s_grain, state);
            await storage.ClearStateAsync("note", s_grain, state);
            state.RecordExists.ShouldBeFalse();
            state.ETag.ShouldBeNull();
            state.State.Text.ShouldBe("");
        }

        (await Read()).RecordExists.ShouldBeFalse();
    }

    /// <summary>A kill leaves at most an unfinished file beside the state; it is never read.</summary>
    [Fact]
    public async Task UnfinishedWrite_ChangesNothing()
    {
        await Write("one");
        string path = PathOfNote();
        await File.WriteAllTextAsync(path + ".next", "{\"format\":1,\"etag\":\"2\"", TestContext.Current.CancellationToken);
        (await Read()).State.Text.ShouldBe("one");
        await Write("two");
        (await Read()).State.Text.ShouldBe("two");
    }

    public static TheoryData<string, Func<byte[], byte[]>> Attacks => new()
    {
        { "it has no header line", _ => [] },
        { "it has no header line", bytes => bytes[..20] },
        { "its header is not JSON", bytes => [(byte)'x', .. bytes] },
        { "its contents do not have the SHA-256", bytes => bytes[..^1] },
        { "its contents do not have the SHA-256", bytes => [.. bytes, 0] },
        { "its contents do not have the SHA-256", bytes => [.. bytes[..^3], (byte)'!', .. bytes[^2..]] },
    };

    [Theory]
    [MemberData(nameof(Attacks))]
    public async Task DamagedFile_IsNamed_AndItsPreviousVersionKept(string how, Func<byte[], byte[]> attack)
    {
        await Write("one", "two");
        string path = PathOfNote();
        await File.WriteAllBytesAsync(
            path, attack(await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken)), TestContext.Current.CancellationToken);
        var thrown = await Should.ThrowAsync<InvalidDataException>(Read);
        thrown.Message.ShouldStartWith($"{path} is damaged: {how}");
        thrown.Message.ShouldContain($"{path}.previous");

        // The remedy of the message works.
        File.Copy(path + ".previous", path, overwrite: true);
        (await Read()).State.Text.ShouldBe("one");
    }

    [Fact]
    public async Task FileOfAnotherFormat_SaysSo()
    {
        await Write("one");
        string path = PathOfNote();
        string text = await File.ReadAllTextAsync(path, TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(
            path, text.Replace("\"format\":1", "\"format\":2", StringComparison.Ordinal), TestContext.Current.CancellationToken);
        (await Should.ThrowAsync<InvalidDataException>(Read)).Message.ShouldContain("has format 2, but this version reads format 1");
    }

    [Fact]
    public void FolderInUse_IsRefused_AndFreeAfterwards()
    {
        using (new FileGrainStorage(_folder.Path))
        {
            Should.Throw<SiloStartException>(() => new FileGrainStorage(_folder.Path)).Message
                .ShouldStartWith($"The state folder {_folder.Path} is in use by another silo");
        }

        new FileGrainStorage(_folder.Path).Dispose();
    }
}
