using DarkMatter.Grains;
using DarkMatter.Protocol;
using Grpc.Core;

namespace DarkMatter.Silo;

/// <summary>The session call: one trainer's stream, from its join to its leaving.</summary>
internal sealed partial class CoordinatorService
{
    /// <summary>How long a stream may be open without a join.</summary>
    private static readonly TimeSpan s_joinDeadline = TimeSpan.FromSeconds(10);

    /// <summary>How long a trainer that was told to stop may keep its stream open.</summary>
    private static readonly TimeSpan s_closeDeadline = TimeSpan.FromSeconds(2);

    public override async Task Session(
        IAsyncStreamReader<TrainerMessage> requestStream, IServerStreamWriter<SiloMessage> responseStream, ServerCallContext context)
    {
        var join = await FirstMessage(requestStream, context.CancellationToken);
        if (string.IsNullOrWhiteSpace(join.Run))
        {
            throw ProtocolMapping.ToException(Refusal.InvalidArgument, "a trainer joins a run by name; its name is empty");
        }

        await Answer(() => Existing(join.Run));
        var sessions = hub.Of(join.Run);
        var session = new TrainerSession(join, sessions.Observed);
        var answer = await Answer(() => sessions.Join(session));
        if (answer.Refusal != Refusal.None)
        {
            throw ProtocolMapping.ToException(answer.Refusal, answer.Message);
        }

        using var over = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken);
        var listening = Listen(requestStream, sessions, session, over.Token);
        try
        {
            await foreach (var message in session.Outgoing.ReadAllAsync(over.Token))
            {
                await responseStream.WriteAsync(message, over.Token);
            }

            // Everything was said; the trainer hangs up, or is hung up on.
            await listening.WaitAsync(s_closeDeadline, time, over.Token);
        }
        catch (Exception exception) when (exception is OperationCanceledException or IOException or TimeoutException)
        {
            // The trainer is gone, or did not hang up in time. The roster hears of it below. A session that the silo ended with a status throws that.
        }
        finally
        {
            sessions.Closed(session);
            await over.CancelAsync();
            session.End();
            await listening.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            session.Ended.TrySetResult();
        }
    }

    private async Task<Join> FirstMessage(IAsyncStreamReader<TrainerMessage> stream, CancellationToken cancellation)
    {
        using var deadline = new CancellationTokenSource(s_joinDeadline, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellation);
        try
        {
            return await stream.MoveNext(either.Token) && stream.Current.KindCase == TrainerMessage.KindOneofCase.Join
                ? stream.Current.Join
                : throw ProtocolMapping.ToException(Refusal.InvalidArgument, "a session begins with a join");
        }
        catch (OperationCanceledException) when (deadline.IsCancellationRequested)
        {
            throw new RpcException(new Status(
                StatusCode.DeadlineExceeded, $"the session was open for {s_joinDeadline.TotalSeconds} s without a join"));
        }
    }

    private static async Task Listen(
        IAsyncStreamReader<TrainerMessage> stream, RunSessions sessions, TrainerSession session, CancellationToken cancellation)
    {
        try
        {
            while (await stream.MoveNext(cancellation))
            {
                if (session.Receive(stream.Current))
                {
                    sessions.Hurry();
                }
            }
        }
        catch (RpcException refused)
        {
            session.Refused(refused.Status.Detail);
            throw;
        }
        finally
        {
            // Whatever ended it: without a leaving before, the trainer is lost, and the response side ends too.
            sessions.Closed(session);
            session.End();
        }
    }
}
