namespace DarkMatter.Data.Tests.Packing;

/// <summary>A pack that ends anywhere goes on, and ends in the bytes of one that ran through.</summary>
public class PackResumeTests
{
    private static PackOptions Options(string source, string destination) =>
        new() { Source = new PackSource.Folder(source), Destination = destination, ShardSamples = 5, Workers = 2 };

    [Fact]
    public async Task Snapshot_AtAnyMoment_ResumesToTheSameBytes()
    {
        using var scratch = new Scratch();
        var source = Photos.Folder(scratch, 197);
        scratch.Write("photos/cats/broken.jpg", "no image"u8);
        await PackJob.RunAsync(Options(source, scratch["whole"]));
        var whole = Files.Contents(scratch["whole"]);

        // What a kill -9 leaves is what lies on disk at that moment: copy the folder while the pack writes.
        var snapshots = 0;
        var copy = new OnReport(_ => CopyFolder(scratch["live"], scratch[$"snapshot{snapshots++}"]));
        await PackJob.RunAsync(Options(source, scratch["live"]) with { Workers = 1 }, copy);
        Files.Contents(scratch["live"]).ShouldBe(whole);
        snapshots.ShouldBeGreaterThan(40);
        var resumedShards = new HashSet<int>();
        for (var i = 0; i < snapshots; i += 3)
        {
            resumedShards.Add((await PackJob.RunAsync(Options(source, scratch[$"snapshot{i}"]))).ResumedShards);
            Files.Contents(scratch[$"snapshot{i}"]).ShouldBe(whole);
        }

        resumedShards.Count.ShouldBeGreaterThan(10); // it really went on from different places
    }

    [Fact]
    public async Task Cancelled_ResumesToTheSameBytes()
    {
        using var scratch = new Scratch();
        var source = Photos.Folder(scratch, 150);
        await PackJob.RunAsync(Options(source, scratch["whole"]));
        using var stop = new CancellationTokenSource();
        var cancel = new OnReport(progress =>
        {
            if (progress.Shards == 7)
                stop.Cancel();
        });
        await Should.ThrowAsync<OperationCanceledException>(() => PackJob.RunAsync(Options(source, scratch["out"]), cancel, stop.Token));
        File.Exists(Path.Combine(scratch["out"], Catalog.FileName)).ShouldBeFalse();
        (await PackJob.RunAsync(Options(source, scratch["out"]))).ResumedShards.ShouldBeGreaterThanOrEqualTo(7);
        Files.Contents(scratch["out"]).ShouldBe(Files.Contents(scratch["whole"]));
    }

    [Theory]
    [InlineData("torn line")]
    [InlineData("damaged line")]
    [InlineData("shard deleted")]
    [InlineData("shard cut off")]
    [InlineData("index damaged")]
    [InlineData("leftover")]
    public async Task Interrupted_AndDamaged_ResumesToTheSameBytes(string damage)
    {
        using var scratch = new Scratch();
        var source = Photos.Folder(scratch, 80);
        await PackJob.RunAsync(Options(source, scratch["whole"]));
        using var stop = new CancellationTokenSource();
        var cancel = new OnReport(progress =>
        {
            if (progress.Shards == 9)
                stop.Cancel();
        });
        await Should.ThrowAsync<OperationCanceledException>(() => PackJob.RunAsync(Options(source, scratch["out"]) with { Workers = 1 }, cancel, stop.Token));
        var journal = scratch["out/pack.journal"];
        switch (damage)
        {
            case "torn line":
                using (var file = File.OpenWrite(journal))
                    file.SetLength(file.Length - 20);
                break;
            case "damaged line":
                var lines = File.ReadAllLines(journal);
                lines[^1] = new string('\0', 100);
                File.WriteAllText(journal, string.Concat(lines.Select(line => line + "\n")));
                break;
            case "shard deleted":
                File.Delete(scratch["out/shard-000003.tar"]);
                break;
            case "shard cut off":
                using (var file = File.OpenWrite(scratch["out/shard-000003.tar"]))
                    file.SetLength(1000);
                break;
            case "index damaged":
                File.WriteAllText(scratch["out/shard-000003.tar.index"], "damaged");
                break;
            case "leftover":
                File.WriteAllText(scratch["out/shard-000010.tar.partial"], "half a shard");
                break;
        }

        var report = await PackJob.RunAsync(Options(source, scratch["out"]));
        report.ResumedShards.ShouldBe(damage == "leftover" ? 9 : 8);
        Files.Contents(scratch["out"]).ShouldBe(Files.Contents(scratch["whole"]));
    }

    [Fact]
    public async Task Interrupted_SourceChanged_SaysSo()
    {
        using var scratch = new Scratch();
        var source = Photos.Folder(scratch, 30);
        using var stop = new CancellationTokenSource();
        var cancel = new OnReport(_ => stop.Cancel());
        await Should.ThrowAsync<OperationCanceledException>(() => PackJob.RunAsync(Options(source, scratch["out"]), cancel, stop.Token));
        scratch.Write("photos/new.png", Files.Image("gray.png"));
        (await Should.ThrowAsync<DatasetException>(() => PackJob.RunAsync(Options(source, scratch["out"])))).Message.ShouldBe(
            $"{scratch["out"]}: the folder holds the beginning of another pack: the source or the options changed since. Delete the folder and pack again, or choose another destination.");
    }

    [Fact]
    public async Task TwoPacks_IntoOneFolder_SecondIsRefused()
    {
        using var scratch = new Scratch();
        var source = Photos.Folder(scratch, 30);
        DatasetException? second = null;
        var during = new OnReport(_ =>
        {
            try
            {
                PackJob.RunAsync(Options(source, scratch["out"])).GetAwaiter().GetResult();
            }
            catch (DatasetException refused)
            {
                second ??= refused;
            }
        });
        await PackJob.RunAsync(Options(source, scratch["out"]) with { Workers = 1 }, during);
        second.ShouldNotBeNull().Message.ShouldContain("another pack is writing to this folder");
    }

    // The journal is locked; cp does not ask for locks, so it finds what the next process would.
    private static void CopyFolder(string from, string to)
    {
        using var copy = System.Diagnostics.Process.Start("cp", ["-r", from, to]);
        copy.WaitForExit(TimeSpan.FromSeconds(30)).ShouldBeTrue();
        copy.ExitCode.ShouldBe(0);
    }

    private sealed class OnReport(Action<PackProgress> action) : IProgress<PackProgress>
    {
        public void Report(PackProgress value) => action(value);
    }
}
