using System.Text.Json;
using DarkMatter.Data;
using DarkMatter.EndToEnd.Tests;

namespace DarkMatter.Faults;

/// <summary>Rows of the failure table that happen to the images.</summary>
public sealed class DataFaultTests(Workshop workshop)
{
    private const int Corrupt = 7;
    private const int Truncated = 100;

    [Fact]
    public async Task ImagesCorruptAndTruncated_AreQuarantinedByName_AndTheRunGoesOn()
    {
        var (dataset, shard, index) = await CopyAsync("broken-images");
        var (corrupt, truncated) = (index.Image(Corrupt), index.Image(Truncated));
        Overwrite(shard, corrupt.Offset, corrupt.Length);
        Overwrite(shard, truncated.Offset + (truncated.Length / 2), truncated.Length - (truncated.Length / 2));

        await using var cluster = new Cluster(workshop, "images");
        await cluster.StartAsync(2, "--set", $"data.dataset={dataset}");
        await cluster.UntilAsync(status => status.Quarantined == 2, "two images in quarantine");
        var verdict = await cluster.ShouldBeProvenAsync();
        var quarantined = verdict.GetProperty("quarantined").EnumerateArray().OrderBy(image => image.GetProperty("sample").GetInt32()).ToList();
        quarantined.Select(Key).ShouldBe([index.Key(Corrupt), index.Key(Truncated)]);
        quarantined.ShouldAllBe(image => image.GetProperty("reason").GetString()!.Length > 0);
        string.Concat(cluster.Trainers.Values.Select(trainer => trainer.Output)).ShouldContain($"broken image {index.Key(Corrupt)} (");
    }

    [Fact]
    public async Task ShardCutOffOnOneMachine_ItsTrainerNamesIt_AndTheOthersGoOn()
    {
        var (dataset, shard, _) = await CopyAsync("broken-shard");
        var whole = await File.ReadAllBytesAsync(shard);
        await File.WriteAllBytesAsync(shard, whole[..(whole.Length / 2)]);

        await using var cluster = new Cluster(workshop, "shard") { With = name => name == "trainer-1" ? $"--dataset {dataset}" : "" };
        await cluster.BeginAsync(2);
        var broken = (await cluster.Trainers["trainer-1"].FinishAsync()).ShouldEndWith(2);
        broken.ShouldSay(shard);
        broken.ShouldSay($"the shard is cut off: it has {whole.Length / 2} bytes instead of {whole.Length}");
        broken.ShouldSay("Copy the shard again, or pack the dataset again.");
        var alone = await cluster.UntilTrainsAsync(1, 0, 0);

        await File.WriteAllBytesAsync(shard, whole);
        cluster.StartTrainer("trainer-1");
        await cluster.UntilTrainsAsync(2, alone.Generation, alone.Step);
        await cluster.ShouldBeProvenWithoutRollbackAsync();
    }

    private static string? Key(JsonElement image) => image.GetProperty("key").GetString();

    private static void Overwrite(string path, long offset, int count)
    {
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Write);
        RandomAccess.Write(file, new byte[count], offset);
    }

    /// <summary>A copy of the workshop's dataset, its only shard, and where its images lie there.</summary>
    private async Task<(string Dataset, string Shard, ShardIndex Index)> CopyAsync(string name)
    {
        await workshop.PackAsync();
        var copy = Directory.CreateDirectory(workshop.In("data", name)).FullName;
        foreach (var file in Directory.GetFiles(workshop.In("data", "train")))
            File.Copy(file, Path.Combine(copy, Path.GetFileName(file)));
        var tar = Catalog.Load(copy).Shards.ShouldHaveSingleItem().Tar;
        var index = Path.Combine(copy, Dataset.IndexName(0, tar));
        return (copy, Path.Combine(copy, tar), ShardIndex.Parse(await File.ReadAllBytesAsync(index), index));
    }
}
