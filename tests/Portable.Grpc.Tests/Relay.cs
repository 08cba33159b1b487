using System.Net;
using System.Net.Sockets;

namespace DarkMatter.Portable.Grpc.Tests;

/// <summary>A network between client and server that a test can silence or cut.</summary>
public sealed class Relay : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _cut = new();
    private readonly List<Socket> _sockets = [];
    private readonly Task _accepting;
    private volatile bool _silent;

    public Relay(int targetPort)
    {
        _listener.Start();
        _accepting = AcceptAsync(targetPort);
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Drops every byte from now on, and keeps the connections.</summary>
    public void Silence() => _silent = true;

    public async ValueTask DisposeAsync()
    {
        await _cut.CancelAsync();
        _listener.Stop();
        lock (_sockets)
        {
            _sockets.ForEach(socket => socket.Dispose());
        }

        await _accepting;
    }

    private async Task AcceptAsync(int targetPort)
    {
        try
        {
            while (true)
            {
                var near = await _listener.AcceptSocketAsync(_cut.Token);
                var far = new Socket(SocketType.Stream, ProtocolType.Tcp);
                lock (_sockets)
                {
                    _sockets.AddRange([near, far]);
                }

                await far.ConnectAsync(IPAddress.Loopback, targetPort, _cut.Token);
                _ = PumpAsync(near, far);
                _ = PumpAsync(far, near);
            }
        }
        catch (Exception exception) when (exception is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The test cut the network.
        }
    }

    private async Task PumpAsync(Socket from, Socket to)
    {
        var buffer = new byte[65_536];
        try
        {
            while (await from.ReceiveAsync(buffer.AsMemory(), _cut.Token) is > 0 and var count)
            {
                if (!_silent)
                {
                    await to.SendAsync(buffer.AsMemory(0, count), _cut.Token);
                }
            }

            to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception exception) when (exception is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The test cut the network.
        }
    }
}
