using Azure.Identity;
using Azure.Storage.Blobs;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>Opens the store of a run's checkpoints, as its recipe says.</summary>
public static class CheckpointStores
{
    /// <summary>How long one request to a blob store may take.</summary>
    public static readonly TimeSpan RequestTimeout = TimeSpan.FromSeconds(60);

    /// <summary>Opens it. Nothing is connected yet.</summary>
    /// <param name="options">Section <c>checkpoints</c>.</param>
    /// <param name="run">The run's name.</param>
    /// <param name="runFolder">The run's folder; local checkpoints lie in its <c>checkpoints</c>.</param>
    /// <param name="retry">How requests are repeated; null for the defaults.</param>
    /// <exception cref="CheckpointException">The options and the environment do not say how to connect.</exception>
    public static CheckpointStore Open(CheckpointOptions options, string run, string runFolder, Retry? retry = null)
    {
        if (options.Store == CheckpointPlace.Local)
            return CheckpointFolder.Store(runFolder);
        if (options.Problems().ToList() is { Count: > 0 } problems)
            throw new CheckpointException(string.Join("; ", problems));
        var prefix = string.Join('/', new[] { options.Prefix, run, "checkpoints" }.Where(part => part.Length > 0));
        return new CheckpointStore(new AzureBlobs(Container(options), prefix, retry ?? new Retry(new RetryOptions(), TimeProvider.System)));
    }

    /// <summary>By what the environment variable holds, or else by the machine's own identity.</summary>
    private static BlobContainerClient Container(CheckpointOptions options)
    {
        var client = AzureBlobs.ClientOptions(RequestTimeout);
        var connection = options.ConnectionEnv.Length == 0 ? null : Environment.GetEnvironmentVariable(options.ConnectionEnv);
        try
        {
            if (string.IsNullOrWhiteSpace(connection))
            {
                return options.Account.Length > 0
                    ? new BlobContainerClient(new Uri($"{options.Account.TrimEnd('/')}/{options.Container}"), new DefaultAzureCredential(), client)
                    : throw new CheckpointException($"checkpoints.store is azure, but there is no way to connect: the environment variable {options.ConnectionEnv} (checkpoints.connection_env) is not set, and checkpoints.account is empty. Set one of them");
            }

            return connection.StartsWith("http", StringComparison.OrdinalIgnoreCase)
                ? new BlobContainerClient(SignedUri(new Uri(connection.Trim()), options.Container), client)
                : new BlobContainerClient(connection.Trim(), options.Container, client);
        }
        catch (Exception e) when (e is FormatException or ArgumentException)
        {
            // The value is a secret: it is not repeated here.
            throw new CheckpointException($"the environment variable {options.ConnectionEnv} (checkpoints.connection_env) is neither a connection string nor a URL with a shared access signature", e);
        }
    }

    /// <summary>A signature may be one of the account or of the container; the address ends with the container's name either way.</summary>
    private static Uri SignedUri(Uri given, string container)
    {
        if (given.Query.Length == 0)
            throw new FormatException("the URL has no signature");
        var path = given.AbsolutePath.TrimEnd('/');
        return path.EndsWith("/" + container, StringComparison.Ordinal) ? given : new UriBuilder(given) { Path = $"{path}/{container}" }.Uri;
    }
}
