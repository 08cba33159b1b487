using System.Security.Cryptography;
using System.Text.Json.Nodes;
using DarkMatter.Trainer.Checkpoints;

namespace DarkMatter.Trainer.Tests.Checkpoints;

[Collection(PlacesCollection.Name)]
public sealed class CheckpointStoreTests(Places places)
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(Places.Folder)]
    [InlineData(Places.Azure)]
    public async Task Publish_AfterAllParts_MakesItVisibleWholeAndReadable(string place)
    {
        using var store = new CheckpointStore(places.New(place));
        var manifest = await store.WritePartsAsync(10, generation: 3, world: 4);
        (await store.StepsAsync()).ShouldBeEmpty("parts alone are not a checkpoint");

        var published = await store.PublishAsync(manifest, Token);
        (await store.StepsAsync()).ShouldBe([10]);
        published.Path.ShouldBe(store.PathOf(10));
        published.ManifestSha256.ShouldBe(SHA256.HashData(await store.Blobs.GetAsync("10/manifest.json")));
        var verified = await store.VerifyAsync(10, Token);
        (verified.Generation, verified.World).ShouldBe((3, 4));

        using var opened = await store.OpenAsync(10, Token);
        opened.ModelFiles.Select(File.ReadAllText).ShouldBe(["model 0 3 ", "model 1 3 ", "model 2 3 ", "model 3 3 "]);
        opened.OptimizerFiles.Select(Path.GetFileName).ShouldBe(Enumerable.Range(1, 4).Select(i => $"optimizer-0000{i}-of-00004.safetensors"));
        File.ReadAllText(opened.RecipeFile).ShouldBe("name: test\n");
    }

    [Theory]
    [InlineData(Places.Folder)]
    [InlineData(Places.Azure)]
    public async Task Publish_TwoOfOneStepAtOnce_OneWinsAndBothKnowIt(string place)
    {
        using var store = new CheckpointStore(places.New(place));
        for (long step = 1; step <= 5; step++)
        {
            var (a, b) = (await store.WritePartsAsync(step, writer: "a"), await store.WritePartsAsync(step, writer: "b"));
            var published = await Task.WhenAll(Task.Run(() => store.PublishAsync(a, Token), Token), Task.Run(() => store.PublishAsync(b, Token), Token));
            published[0].ManifestSha256.ShouldBe(published[1].ManifestSha256);
            var winner = await store.VerifyAsync(step, Token);
            winner.Versions["writer"].ShouldBeOneOf("a", "b");
            (await store.Blobs.NamesAsync($"{step}/")).Count.ShouldBe(1 + winner.Files.Count, "the loser's parts are gone");
        }
    }

    [Theory]
    [InlineData(Places.Folder)]
    [InlineData(Places.Azure)]
    public async Task Publish_AStepOfAnOlderGeneration_GivesWay_AndANewerOneDoesNot(string place)
    {
        using var store = new CheckpointStore(places.New(place));
        await store.PublishWholeAsync(10, generation: 1, writer: "old");
        await store.PublishWholeAsync(10, generation: 2, world: 3, writer: "new");
        (await store.VerifyAsync(10, Token)).Versions["writer"].ShouldBe("new");
        (await store.Blobs.NamesAsync()).Count.ShouldBe(8, "the old one's parts are gone");

        (await Should.ThrowAsync<CheckpointException>(() => store.PublishWholeAsync(10, generation: 1, writer: "zombie")))
            .Message.ShouldContain("generation 2 has published step 10 already");
        (await store.VerifyAsync(10, Token)).Versions["writer"].ShouldBe("new");
    }

    [Theory]
    [InlineData(Places.Folder)]
    [InlineData(Places.Azure)]
    public async Task Publish_AgainAfterALostAnswer_IsTheSameCheckpoint(string place)
    {
        using var store = new CheckpointStore(places.New(place));
        var manifest = await store.WritePartsAsync(10);
        var first = await store.PublishAsync(manifest, Token);
        var again = await store.PublishAsync(manifest with { Progress = manifest.Progress with { TrainedSeconds = 2 } }, Token);
        again.ManifestSha256.ShouldBe(first.ManifestSha256);
        await store.VerifyAsync(10, Token);
    }

    [Theory]
    [InlineData(Places.Folder)]
    [InlineData(Places.Azure)]
    public async Task Publish_WhereAManifestFromTheFutureLies_LeavesItAlone(string place)
    {
        using var store = new CheckpointStore(places.New(place));
        await store.PublishWholeAsync(10);
        await store.Blobs.DamageAsync("10/manifest.json", json => Edit(json, node => node["format"] = 99));
        (await Should.ThrowAsync<CheckpointException>(() => store.PublishWholeAsync(10, generation: 9)))
            .Message.ShouldContain("it has format 99 and this program reads up to 2; use the program that wrote it, or a newer one");
    }

    [Theory]
    [InlineData(Places.Folder, "truncated part", "model-00002-of-00002.safetensors has ")]
    [InlineData(Places.Azure, "truncated part", "model-00002-of-00002.safetensors has ")]
    [InlineData(Places.Folder, "flipped bit", "its SHA-256 differs")]
    [InlineData(Places.Azure, "flipped bit", "its SHA-256 differs")]
    [InlineData(Places.Folder, "missing part", "model-00002-of-00002.safetensors is missing")]
    [InlineData(Places.Azure, "missing part", "model-00002-of-00002.safetensors is missing")]
    [InlineData(Places.Folder, "unlisted part", "its manifest does not list model-00002-of-00002.safetensors")]
    [InlineData(Places.Folder, "part listed twice", "its manifest lists model-00002-of-00002.safetensors 2 times")]
    [InlineData(Places.Folder, "broken manifest", "manifest.json is damaged")]
    [InlineData(Places.Azure, "broken manifest", "manifest.json is damaged")]
    [InlineData(Places.Folder, "from the future", "it has format 99")]
    [InlineData(Places.Azure, "from the future", "it has format 99")]
    public async Task NewestWhole_NewestIsDamaged_IsTheOneBefore_AndSaysWhy(string place, string damage, string message)
    {
        using var store = new CheckpointStore(places.New(place));
        await store.PublishWholeAsync(10);
        await store.PublishWholeAsync(20);
        const string part = "20/model-00002-of-00002.safetensors", manifest = "20/manifest.json";
        await (damage switch
        {
            "truncated part" => store.Blobs.DamageAsync(part, bytes => bytes[..^1]),
            "flipped bit" => store.Blobs.DamageAsync(part, bytes => [.. bytes[..^1], (byte)(bytes[^1] ^ 1)]),
            "missing part" => store.Blobs.DeleteAsync(part, Token),
            "broken manifest" => store.Blobs.DamageAsync(manifest, bytes => bytes[..(bytes.Length / 2)]),
            "unlisted part" => store.Blobs.DamageAsync(manifest, json => Edit(json, node => node["files"]!.AsArray().RemoveAt(2))),
            "part listed twice" => store.Blobs.DamageAsync(manifest, json => Edit(json, node => node["files"]!.AsArray().Add(node["files"]![2]!.DeepClone()))),
            _ => store.Blobs.DamageAsync(manifest, json => Edit(json, node => node["format"] = 99)),
        });

        (await Should.ThrowAsync<CheckpointException>(() => store.VerifyAsync(20, Token))).Message.ShouldContain(store.PathOf(20));
        var notes = new List<string>();
        using (var opened = await store.OpenNewestWholeAsync(notes.Add, Token))
            opened!.Step.ShouldBe(10);
        notes.ShouldHaveSingleItem().ShouldContain(message);
        (await store.FindNewestWholeAsync(_ => { }, Token))!.Progress.Step.ShouldBe(10);
    }

    [Theory]
    [InlineData(Places.Folder)]
    [InlineData(Places.Azure)]
    public async Task Collect_AfterAPublication_KeepsTheLastAndEveryNth_AndDeletesWhatAttemptsLeft(string place)
    {
        using var store = new CheckpointStore(places.New(place));
        foreach (var step in new long[] { 10, 20, 30, 40, 50 })
            await store.PublishWholeAsync(step);
        await store.WritePartsAsync(45);
        await store.WritePartsAsync(50, writer: "an attempt that died");
        await store.WritePartsAsync(60, writer: "still being written");

        await store.CollectAsync(await store.ReadManifestAsync(50, Token), new CheckpointRetention(KeepLast: 2, KeepEvery: 20), Token);
        (await store.StepsAsync()).ShouldBe([20, 40, 50]);
        foreach (var step in new long[] { 20, 40, 50 })
            await store.VerifyAsync(step, Token);
        (await store.Blobs.NamesAsync()).Select(name => name.Split('/')[0]).Distinct().ShouldBe(["20", "40", "50", "60"]);
        (await store.Blobs.NamesAsync("50/")).Count.ShouldBe(6);
        (await store.Blobs.NamesAsync("60/")).Count.ShouldBe(5);

        await store.ClearAsync(Token);
        (await store.Blobs.NamesAsync()).ShouldBeEmpty();
    }

    [Fact]
    public async Task Collect_StepsOfABranchThatTheRunHasLeft_Go()
    {
        using var store = new CheckpointStore(places.New(Places.Folder));
        await store.PublishWholeAsync(10, generation: 1);
        await store.PublishWholeAsync(30, generation: 1);
        await store.PublishWholeAsync(40, generation: 3);
        await store.PublishWholeAsync(20, generation: 2);
        await store.CollectAsync(await store.ReadManifestAsync(20, Token), new CheckpointRetention(), Token);
        (await store.StepsAsync()).ShouldBe([10, 20, 40], "30 was written before generation 2 began at a lower step");
    }

    [Fact]
    public async Task Withdraw_IsOnlyOfTheOneThatWasPublished()
    {
        using var store = new CheckpointStore(places.New(Places.Folder));
        var old = await store.PublishWholeAsync(10, generation: 1);
        await store.PublishWholeAsync(10, generation: 2);
        await store.WithdrawAsync(old, Token);
        (await store.StepsAsync()).ShouldBe([10]);
        await store.WithdrawAsync(await store.PublishWholeAsync(20), Token);
        (await store.StepsAsync()).ShouldBe([10]);
    }

    private static byte[] Edit(byte[] json, Action<JsonNode> change)
    {
        var node = JsonNode.Parse(json)!;
        change(node);
        return System.Text.Encoding.UTF8.GetBytes(node.ToJsonString());
    }
}
