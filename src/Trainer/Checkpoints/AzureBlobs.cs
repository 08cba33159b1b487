using System.Buffers;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using Azure;
using Azure.Identity;
using Azure.Storage;
using Azure.Storage.Blobs;
using Azure.Storage.Blobs.Models;
using Azure.Storage.Blobs.Specialized;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>
/// Blobs of an Azure container, below a prefix. Long ones travel in blocks, some at a time, each with a checksum; one conditional
/// request makes them a blob. Every request is repeated while the service is away, within bounds.
/// </summary>
/// <param name="container">The container; it is made when it does not exist.</param>
/// <param name="prefix">Before every name; empty or without slashes at its ends.</param>
/// <param name="retry">How requests are repeated; the client's own repeats should be off.</param>
public sealed class AzureBlobs(BlobContainerClient container, string prefix, Retry retry) : ICheckpointBlobs
{
    private const int BlockBytes = 8 << 20;
    private const int BlocksAtOnce = 4;
    private const int UploadAttempts = 3;

    private readonly string _prefix = prefix.Length == 0 ? "" : prefix + "/";

    /// <inheritdoc/>
    public string Location => $"{container.Uri.GetLeftPart(UriPartial.Path)}/{prefix}".TrimEnd('/');

    /// <inheritdoc/>
    public string? LocalRoot => null;

    private static UploadTransferValidationOptions Checked => new() { ChecksumAlgorithm = StorageChecksumAlgorithm.MD5 };

    /// <summary>What clients are made with: this class repeats requests itself.</summary>
    public static BlobClientOptions ClientOptions(TimeSpan requestTimeout) => new()
    {
        Retry = { MaxRetries = 0, NetworkTimeout = requestTimeout },
        Diagnostics = { IsLoggingEnabled = false, IsDistributedTracingEnabled = false },
    };

    /// <inheritdoc/>
    public async Task<bool> PutAsync(string name, ReadOnlySequence<byte> content, string? replaces, CancellationToken cancellationToken)
    {
        var conditions = replaces is null ? new BlobRequestConditions { IfNoneMatch = ETag.All } : new BlobRequestConditions { IfMatch = new ETag(replaces) };
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                await (content.Length <= BlockBytes ? PutOnceAsync(name, content, conditions, cancellationToken) : PutBlocksAsync(name, content, conditions, cancellationToken));
                return true;
            }
            catch (RequestFailedException e) when ((e.ErrorCode == BlobErrorCode.InvalidBlockList || e.ErrorCode == BlobErrorCode.ContainerNotFound) && attempt < UploadAttempts)
            {
                // The blocks are gone: with another writer's commit of the same name, or with a service that lost what was not committed, its new container included.
                if (replaces is null && await FindAsync(name, cancellationToken) is not null)
                    return false;
            }
            catch (RequestFailedException e) when (e.Status is 409 or 412)
            {
                // Taken by another, or by an attempt of ours whose answer was lost: the caller looks at what is there.
                return false;
            }
            catch (Exception e) when (Explain(e, name) is { } explained)
            {
                throw explained;
            }
        }
    }

    /// <inheritdoc/>
    public async Task<CheckpointBlob?> FindAsync(string name, CancellationToken cancellationToken)
    {
        try
        {
            BlobProperties found = await Repeated(() => Blob(name).GetPropertiesAsync(cancellationToken: cancellationToken), cancellationToken);
            return new CheckpointBlob(name, found.ContentLength, found.ETag.ToString());
        }
        catch (RequestFailedException e) when (e.Status == 404)
        {
            return null;
        }
        catch (Exception e) when (Explain(e, name) is { } explained)
        {
            throw explained;
        }
    }

    /// <inheritdoc/>
    public async Task<int> ReadAsync(string name, long offset, Memory<byte> into, CancellationToken cancellationToken)
    {
        try
        {
            return await Repeated(async () =>
            {
                BlobDownloadStreamingResult part = await Blob(name).DownloadStreamingAsync(new BlobDownloadOptions { Range = new HttpRange(offset, into.Length) }, cancellationToken);
                await using var stream = part.Content;
                return await stream.ReadAtLeastAsync(into, into.Length, throwOnEndOfStream: false, cancellationToken);
            }, cancellationToken);
        }
        catch (RequestFailedException e) when (e.Status == 416)
        {
            return 0; // behind the end
        }
        catch (RequestFailedException e) when (e.Status == 404)
        {
            throw new FileNotFoundException($"'{Location}/{name}' is missing", e);
        }
        catch (Exception e) when (Explain(e, name) is { } explained)
        {
            throw explained;
        }
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<CheckpointBlob> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        string? next = null;
        do
        {
            var page = await PageAsync(prefix, next, cancellationToken);
            foreach (var item in page?.Values ?? [])
                yield return new CheckpointBlob(item.Name[_prefix.Length..], item.Properties.ContentLength ?? 0, item.Properties.ETag?.ToString() ?? "");
            next = page?.ContinuationToken;
        }
        while (!string.IsNullOrEmpty(next));
    }

    /// <inheritdoc/>
    public async Task DeleteAsync(string name, CancellationToken cancellationToken)
    {
        try
        {
            await Repeated(() => Blob(name).DeleteIfExistsAsync(cancellationToken: cancellationToken), cancellationToken);
        }
        catch (Exception e) when (Explain(e, name) is { } explained)
        {
            throw explained;
        }
    }

    /// <summary>There is nothing to free.</summary>
    public void Dispose()
    {
    }

    private async Task PutOnceAsync(string name, ReadOnlySequence<byte> content, BlobRequestConditions conditions, CancellationToken cancellationToken)
    {
        var bytes = content.ToArray();
        await InContainer(() => Blob(name).UploadAsync(new MemoryStream(bytes), new BlobUploadOptions { Conditions = conditions, TransferValidation = Checked }, cancellationToken), cancellationToken);
    }

    private async Task PutBlocksAsync(string name, ReadOnlySequence<byte> content, BlobRequestConditions conditions, CancellationToken cancellationToken)
    {
        // Blocks of two writers of one name never mix.
        var writer = Guid.NewGuid().ToString("N");
        var count = (int)((content.Length + BlockBytes - 1) / BlockBytes);
        var ids = Enumerable.Range(0, count).Select(i => Convert.ToBase64String(Encoding.ASCII.GetBytes(writer + i.ToString("D8", CultureInfo.InvariantCulture)))).ToArray();
        var limits = new ParallelOptions { MaxDegreeOfParallelism = BlocksAtOnce, CancellationToken = cancellationToken };
        await Parallel.ForAsync(0, count, limits, async (i, cancellation) =>
        {
            var piece = content.Slice((long)i * BlockBytes, Math.Min(BlockBytes, content.Length - ((long)i * BlockBytes)));
            var buffer = ArrayPool<byte>.Shared.Rent((int)piece.Length);
            try
            {
                piece.CopyTo(buffer);
                await InContainer(
                    () => Blob(name).StageBlockAsync(ids[i], new MemoryStream(buffer, 0, (int)piece.Length), new BlockBlobStageBlockOptions { TransferValidation = Checked }, cancellation), cancellation);
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
        });
        await Repeated(() => Blob(name).CommitBlockListAsync(ids, new CommitBlockListOptions { Conditions = conditions }, cancellationToken), cancellationToken);
    }

    private async Task<Page<BlobItem>?> PageAsync(string prefix, string? next, CancellationToken cancellationToken)
    {
        try
        {
            return await Repeated(async () =>
            {
                await foreach (var page in container.GetBlobsAsync(prefix: _prefix + prefix, cancellationToken: cancellationToken).AsPages(next))
                    return page;
                return null;
            }, cancellationToken);
        }
        catch (RequestFailedException e) when (e.ErrorCode == BlobErrorCode.ContainerNotFound)
        {
            return null;
        }
        catch (Exception e) when (Explain(e, prefix) is { } explained)
        {
            throw explained;
        }
    }

    private BlockBlobClient Blob(string name) => container.GetBlockBlobClient(_prefix + name);

    /// <summary>Makes the container when the request says that it is missing.</summary>
    private async Task InContainer<T>(Func<Task<T>> request, CancellationToken cancellationToken)
    {
        try
        {
            await Repeated(request, cancellationToken);
        }
        catch (RequestFailedException e) when (e.ErrorCode == BlobErrorCode.ContainerNotFound)
        {
            await Repeated(() => container.CreateIfNotExistsAsync(cancellationToken: cancellationToken), cancellationToken);
            await Repeated(request, cancellationToken);
        }
    }

    private async Task<T> Repeated<T>(Func<Task<T>> request, CancellationToken cancellationToken)
    {
        try
        {
            return await retry.RunAsync(request, IsTransient, cancellationToken);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new IOException("no answer in time", e);
        }
    }

    /// <summary>No answer, too slow, too many, or the service's own fault. A cancelled request that nobody cancelled ran into its timeout.</summary>
    private static bool IsTransient(Exception e) => e switch
    {
        RequestFailedException failed => failed.Status is 0 or 408 or 429 or 500 or 502 or 503 or 504,
        CredentialUnavailableException => false,
        AuthenticationFailedException => true,
        AggregateException several => several.InnerExceptions.All(IsTransient),
        IOException or OperationCanceledException => true,
        _ => false,
    };

    private CheckpointBlobException? Explain(Exception e, string name)
    {
        var what = e switch
        {
            RequestFailedException { Status: 0 } => "does not answer. Check the address and the network",
            RequestFailedException { Status: 401 or 403 } => "refuses. Check the connection's key, token or role: it needs to read, write, list and delete blobs",
            RequestFailedException { Status: 404 } => "does not have this container, and it could not be made",
            RequestFailedException failed => $"answers with {failed.Status} {failed.ErrorCode}",
            CredentialUnavailableException => "needs a login, and this machine has none. Log in, give the machine an identity, or set checkpoints.connection_env",
            AuthenticationFailedException => "is out of reach: the login failed",
            AggregateException or IOException => "does not answer",
            _ => null,
        };
        return what is null ? null : new CheckpointBlobException($"the blob store {what} ({Location}/{name}): {e.Message.Split('\n')[0].Trim()}", IsTransient(e), e);
    }
}
