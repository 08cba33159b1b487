using System.Buffers;
using Azure.Storage.Blobs;
using DarkMatter.Trainer.Checkpoints;

namespace DarkMatter.Trainer.Tests.Checkpoints;

/// <summary>The places that checkpoints can lie in, each test in a fresh corner of one. One Azurite serves them all.</summary>
public sealed class Places : IAsyncLifetime
{
    public const string Folder = "folder";
    public const string Azure = "azure";

    private readonly string _root = Directory.CreateTempSubdirectory("places-").FullName;
    private Azurite? _azurite;
    private int _count;

    public static Retry Impatient { get; } = new(new RetryOptions { First = TimeSpan.FromMilliseconds(50), Within = TimeSpan.FromSeconds(1) }, TimeProvider.System);

    public string ConnectionString => _azurite!.ConnectionString;

    public async ValueTask InitializeAsync() => _azurite = await Azurite.StartAsync();

    public ICheckpointBlobs New(string place)
    {
        var corner = $"run-{Interlocked.Increment(ref _count)}";
        return place == Folder
            ? new FolderBlobs(Path.Combine(_root, corner))
            : new AzureBlobs(new BlobContainerClient(ConnectionString, "places", AzureBlobs.ClientOptions(TimeSpan.FromSeconds(30))), $"team/{corner}", Impatient);
    }

    public async ValueTask DisposeAsync()
    {
        await _azurite!.DisposeAsync();
        Directory.Delete(_root, recursive: true);
    }
}

[CollectionDefinition(Name)]
public sealed class PlacesCollection : ICollectionFixture<Places>
{
    public const string Name = "places of checkpoints";
}

/// <summary>What tests do to blobs.</summary>
internal static class BlobsExtensions
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public static Task<bool> PutAsync(this ICheckpointBlobs blobs, string name, byte[] content, string? replaces = null) =>
        blobs.PutAsync(name, new ReadOnlySequence<byte>(content), replaces, Token);

    public static async Task<byte[]> GetAsync(this ICheckpointBlobs blobs, string name)
    {
        var content = new byte[(await blobs.FindAsync(name, Token)).ShouldNotBeNull(name).Bytes];
        (await blobs.ReadAsync(name, 0, content, Token)).ShouldBe(content.Length);
        return content;
    }

    public static async Task<IReadOnlyList<string>> NamesAsync(this ICheckpointBlobs blobs, string prefix = "")
    {
        var names = new List<string>();
        await foreach (var blob in blobs.ListAsync(prefix, Token))
            names.Add(blob.Name);
        return [.. names.Order(StringComparer.Ordinal)];
    }

    /// <summary>Puts other bytes in a blob's place.</summary>
    public static async Task DamageAsync(this ICheckpointBlobs blobs, string name, Func<byte[], byte[]> damage)
    {
        var content = damage(await blobs.GetAsync(name));
        await blobs.DeleteAsync(name, Token);
        (await blobs.PutAsync(name, content)).ShouldBeTrue();
    }
}
