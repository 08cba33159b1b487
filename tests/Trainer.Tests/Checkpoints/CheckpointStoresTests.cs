using Azure.Storage.Blobs;
using Azure.Storage.Sas;
using DarkMatter.Trainer.Checkpoints;

namespace DarkMatter.Trainer.Tests.Checkpoints;

[Collection(PlacesCollection.Name)]
public sealed class CheckpointStoresTests(Places places) : IDisposable
{
    private const string Container = "stores";

    private readonly string _variable = $"DARKMATTER_TEST_{Guid.NewGuid():N}";

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private CheckpointOptions Azure => new() { Store = CheckpointPlace.Azure, Container = Container, Prefix = "team/a", ConnectionEnv = _variable };

    public void Dispose() => Environment.SetEnvironmentVariable(_variable, null);

    [Theory]
    [InlineData("connection string")]
    [InlineData("signature of the container")]
    [InlineData("signature of the account")]
    public async Task Open_ByWhatTheVariableHolds_ReachesTheStore(string how)
    {
        var service = new BlobServiceClient(places.ConnectionString, AzureBlobs.ClientOptions(TimeSpan.FromSeconds(30)));
        var container = service.GetBlobContainerClient(Container);
        await container.CreateIfNotExistsAsync(cancellationToken: Token);
        var until = DateTimeOffset.UtcNow.AddHours(1);
        Environment.SetEnvironmentVariable(_variable, how switch
        {
            "connection string" => places.ConnectionString,
            "signature of the container" => container.GenerateSasUri(BlobContainerSasPermissions.All, until).ToString(),
            _ => service.GenerateAccountSasUri(AccountSasPermissions.All, until, AccountSasResourceTypes.All).ToString(),
        });
        var run = $"run-{Guid.NewGuid():N}";
        using var store = CheckpointStores.Open(Azure, run, "unused", Places.Impatient);
        store.PathOf(10).ShouldEndWith($"/{Container}/team/a/{run}/checkpoints/10");
        store.PathOf(10).ShouldNotContain("sig=");
        await store.PublishWholeAsync(10);
        (await store.StepsAsync()).ShouldBe([10]);
        (await container.GetBlobClient($"team/a/{run}/checkpoints/10/manifest.json").ExistsAsync(Token)).Value.ShouldBeTrue();
    }

    [Fact]
    public void Open_NoWayToConnect_SaysWhatToSet()
    {
        var message = Should.Throw<CheckpointException>(() => CheckpointStores.Open(Azure, "r", "unused")).Message;
        message.ShouldContain(_variable);
        message.ShouldContain("checkpoints.account");
    }

    [Theory]
    [InlineData("hunter2")]
    [InlineData("https://account.blob.core.windows.net/no-signature")]
    public void Open_NonsenseInTheVariable_IsNamedButNotRepeated(string secret)
    {
        Environment.SetEnvironmentVariable(_variable, secret);
        var message = Should.Throw<CheckpointException>(() => CheckpointStores.Open(Azure, "r", "unused")).Message;
        message.ShouldContain(_variable);
        message.ShouldNotContain(secret);
    }

    [Fact]
    public async Task Open_AWrongKey_SaysThatTheStoreRefuses()
    {
        Environment.SetEnvironmentVariable(_variable, places.ConnectionString.Replace("AccountKey=Eby8", "AccountKey=Abcd", StringComparison.Ordinal));
        using var store = CheckpointStores.Open(Azure, "r", "unused", Places.Impatient);
        var failure = await Should.ThrowAsync<CheckpointBlobException>(() => store.StepsAsync());
        failure.Message.ShouldContain("refuses. Check the connection's key");
        failure.IsTransient.ShouldBeFalse();
    }

    [Fact]
    public void Open_Local_IsTheRunsFolder()
    {
        using var store = CheckpointStores.Open(new CheckpointOptions(), "r", "/runs/r");
        store.PathOf(10).ShouldBe("/runs/r/checkpoints/10");
    }

    [Theory]
    [InlineData("", "", "", "no container is named")]
    [InlineData("Capital", "", "", "'Capital' is none")]
    [InlineData("a--b", "", "", "'a--b' is none")]
    [InlineData("abc", "/x", "", "'/x' is made of names")]
    [InlineData("abc", "", "account.blob", "is no address")]
    [InlineData("abc", "", "http://account.blob", "a login needs https")]
    public void Problems_OfOptions_AreNamed(string container, string prefix, string account, string message) =>
        new CheckpointOptions { Store = CheckpointPlace.Azure, Container = container, Prefix = prefix, Account = account }.Problems().ShouldHaveSingleItem().ShouldContain(message);
}
