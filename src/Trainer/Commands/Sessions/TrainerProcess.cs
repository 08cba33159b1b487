using System.Globalization;
using System.Net;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Collectives;
using Grpc.Net.Client;

namespace DarkMatter.Trainer.Commands.Sessions;

/// <summary>
/// The life of a trainer process: it joins, prepares, and then goes from generation to generation, its state staying in memory, until the run
/// is over or it is let go.
/// </summary>
/// <param name="options">Who it is.</param>
public sealed class TrainerProcess(TrainerProcessOptions options)
{
    /// <summary>Runs to the end.</summary>
    /// <param name="stop">Cancelled when the whole run should end here: at the next step, with a checkpoint.</param>
    /// <param name="drain">Cancelled when this process alone should end (SIGTERM): the others go on.</param>
    /// <returns>One of <see cref="ExitCode"/>.</returns>
    public async Task<int> RunAsync(CancellationToken stop, CancellationToken drain)
    {
        await using var peers = await StartPeerServerAsync(stop);
        using var channel = GrpcChannel.ForAddress(options.Silo);
        using var logs = new RunLogs(options);
        var join = new Join
        {
            Run = options.Run,
            Name = options.Name,
            Incarnation = Guid.NewGuid().ToString("N"),
            Address = options.Advertise?.GetLeftPart(UriPartial.Authority) ?? peers.Address,
            ProcessId = Environment.ProcessId,
        };
        await using var banks = new SiloBankFeed(new Protocol.Banks.BanksClient(channel), options.Run, Note);
        await using var session = new TrainerSession(new Coordinator.CoordinatorClient(channel), join, options.Session, Note, logs.Write) { Banks = banks };
        using var stopping = stop.Register(() => session.Orders.Post(new Order.Stop("asked to stop", Over: true)));
        using var draining = drain.Register(() => session.BeginDrain("asked to end", options.Session.DrainGrace));
        // A thread of its own: training computes and blocks, which the pool's threads must not.
        var finished = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(() =>
        {
            try
            {
                using var life = new TrainerLife(options, session, peers, logs);
                finished.SetResult(life.Live());
            }
            catch (Exception e)
            {
                finished.SetException(e);
            }
        })
        { Name = "training" }.Start();
        return await finished.Task;
    }

    /// <summary>Writes a line to the trainer's log.</summary>
    internal static void Note(string message) => Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{DateTime.UtcNow:HH:mm:ss.fff} {message}"));

    private async Task<PeerServer> StartPeerServerAsync(CancellationToken cancellationToken)
    {
        // A name or an address of this machine is told to the peers; listening on it needs no more than to know if others may connect.
        var local = options.Host is "localhost" || (IPAddress.TryParse(options.Host, out var address) && IPAddress.IsLoopback(address));
        try
        {
            return await PeerServer.StartAsync(local ? IPAddress.Loopback : IPAddress.Any, options.Port, options.Host, cancellationToken);
        }
        catch (IOException e)
        {
            throw new CommandException(ExitCode.BadRequest, $"{options.Name}: port {options.Port} for other trainers cannot be used: {e.Message}. Choose another with --port (0: any free one)", e);
        }
    }
}
