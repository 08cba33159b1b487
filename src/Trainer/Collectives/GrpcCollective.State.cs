using System.Globalization;
using DarkMatter.Trainer.Training;
using Grpc.Core;

namespace DarkMatter.Trainer.Collectives;

// Copying state between the ranks of a generation, over the port that its streams use.
public sealed partial class GrpcCollective : IStateTransfer
{
    private readonly Lock _offering = new();
    private TaskCompletionSource<StateOffer> _offer = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <inheritdoc/>
    public IDisposable Offer(StateMemory memory)
    {
        var offer = new StateOffer(memory, _ =>
        {
            lock (_offering)
                _offer = new TaskCompletionSource<StateOffer>(TaskCreationOptions.RunContinuationsAsynchronously);
        });
        lock (_offering)
            _offer.SetResult(offer);
        return offer;
    }

    /// <inheritdoc/>
    public async Task FetchAsync(int donor, long offset, long length, StateMemory target, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _aborted.Token);
        patience.CancelAfter(_options.Timeout);
        var receipt = new StateMethod.StateReceipt(target, offset, offset + length);
        try
        {
            using var channel = PeerTransport.Connect(_options.Peers[donor]);
            using var call = channel.CreateCallInvoker().AsyncServerStreamingCall(
                StateMethod.Taking(receipt), null, new CallOptions(Headers(traffic: 0)), new StateRequest(offset, length));
            while (await call.ResponseStream.MoveNext(patience.Token).ConfigureAwait(false))
            {
                // The wait follows the bytes, here and on the ranks that wait for this one.
                patience.CancelAfter(_options.Timeout);
                Working();
            }

            if (!receipt.IsComplete)
                throw new InvalidDataException("it ended before its last byte");
        }
        catch (Exception exception) when (exception is RpcException or InvalidDataException or IOException or OperationCanceledException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            // A cut connection is the donor's; damaged bytes may be anyone's fault.
            int? failed = exception is InvalidDataException ? null : donor;
            var what = patience.IsCancellationRequested && !_aborted.IsCancellationRequested
                ? $"nothing came for {_options.Timeout.TotalSeconds:0.#} s"
                : Describe(exception);
            Abort($"Rank {Rank} could not copy state from rank {donor} ({_options.Peers[donor]}): {what}.", failed, exception);
            throw new CollectiveAbortedException(_reason!.Message, _reason.FailedRank, exception);
        }
    }

    /// <summary>Sends a range of the state that this rank offers.</summary>
    internal async Task GiveStateAsync(StateRequest request, IServerStreamWriter<StateChunk> writer, ServerCallContext context)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, _aborted.Token);
        Task<StateOffer> offered;
        lock (_offering)
            offered = _offer.Task;
        var offer = await offered.WaitAsync(_options.Timeout, ended.Token).ConfigureAwait(false);
        var end = request.Offset + request.Length;
        if (request.Offset < 0 || request.Length < 0 || end > offer.Bytes)
            throw new RpcException(new Status(StatusCode.OutOfRange, $"bytes {request.Offset} to {end} of a state of {offer.Bytes}: the ranks have different networks"));
        for (var offset = request.Offset; offset < end; offset += StateMethod.ChunkBytes)
        {
            ended.Token.ThrowIfCancellationRequested();
            await writer.WriteAsync(new StateChunk(offer, offset, (int)Math.Min(StateMethod.ChunkBytes, end - offset))).ConfigureAwait(false);
        }
    }

    private Metadata Headers(int traffic) => new()
    {
        { PeerMethod.GenerationKey, Generation.ToString(CultureInfo.InvariantCulture) },
        { PeerMethod.RankKey, Rank.ToString(CultureInfo.InvariantCulture) },
        { PeerMethod.WorldKey, World.ToString(CultureInfo.InvariantCulture) },
        { PeerMethod.TrafficKey, traffic.ToString(CultureInfo.InvariantCulture) },
    };
}
