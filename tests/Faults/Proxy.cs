using System.Buffers;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;

namespace DarkMatter.Faults;

/// <summary>
/// A bad wire to a port of this machine: what goes through it, in either direction, arrives late, slowly, after a pause, or not at all. TCP hides
/// what happens to packets, so a lost one is what it looks like to a program: everything behind it waits for its second sending.
/// </summary>
internal sealed class Proxy : IAsyncDisposable
{
    private const int ChunkBytes = 16 * 1024;

    /// <summary>Chunks on their way in one direction of a connection; beyond them the sender waits.</summary>
    private const int MaxChunks = 256;

    /// <summary>What Linux waits, at the least, before it sends a packet again.</summary>
    private static readonly TimeSpan Retransmission = TimeSpan.FromMilliseconds(200);

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _closing = new();
    private readonly List<Socket> _open = [];
    private readonly Random _random = new(1);
    private readonly int _target;
    private readonly Task _accepting;
    private long _carried;

    /// <summary>Begins to listen.</summary>
    /// <param name="target">The port behind the wire.</param>
    public Proxy(int target)
    {
        _target = target;
        _listener.Start();
        _accepting = AcceptAsync();
    }

    /// <summary>Where the wire begins.</summary>
    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>How long a byte takes to the other end; what is on its way already is not affected. Default 0.</summary>
    public TimeSpan Delay { get; set; }

    /// <summary>While it is set nothing comes through and nobody is told: what was sent waits. Default false.</summary>
    public bool IsCut { get; set; }

    /// <summary>What one direction of one connection carries. Default: as much as the machine can.</summary>
    public long BytesPerSecond { get; init; } = long.MaxValue;

    /// <summary>The part of the chunks that are lost and sent again, 0 to 1. Default 0.</summary>
    public double Loss { get; init; }

    /// <summary>Bytes that have come through so far, in both directions.</summary>
    public long Carried => Interlocked.Read(ref _carried);

    /// <summary>Breaks every connection that stands; new ones are welcome.</summary>
    /// <returns>How many there were.</returns>
    public int Drop()
    {
        lock (_open)
        {
            foreach (var socket in _open)
            {
                // A reset, as of a router that has forgotten the connection.
                socket.LingerState = new LingerOption(true, 0);
                socket.Close();
            }

            var dropped = _open.Count / 2;
            _open.Clear();
            return dropped;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _closing.CancelAsync();
        _listener.Dispose();
        Drop();
        await _accepting;
        _closing.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var near = await _listener.AcceptSocketAsync(_closing.Token);
                _ = ConnectAsync(near);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // Closed.
        }
    }

    private async Task ConnectAsync(Socket near)
    {
        var far = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        near.NoDelay = true;
        try
        {
            await WhileCutAsync(_closing.Token);
            await far.ConnectAsync(IPAddress.Loopback, _target, _closing.Token);
            lock (_open)
                _open.AddRange([near, far]);
            var (there, back) = (CarryAsync(near, far), CarryAsync(far, near));
            var first = await Task.WhenAny(there, back);
            await first; // a direction that breaks takes the other with it
            await (first == there ? back : there);
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // An end is gone, and with it the other.
        }
        finally
        {
            lock (_open)
                _open.RemoveAll(socket => socket == near || socket == far);
            near.Dispose();
            far.Dispose();
        }
    }

    /// <summary>One direction: a reader that notes when each chunk is due, and a writer that waits for that.</summary>
    private async Task CarryAsync(Socket from, Socket to)
    {
        using var broken = CancellationTokenSource.CreateLinkedTokenSource(_closing.Token);
        var chunks = Channel.CreateBounded<Chunk>(MaxChunks);
        var writing = WriteAsync(chunks.Reader, to, broken);
        try
        {
            var due = Stopwatch.GetTimestamp();
            while (true)
            {
                var bytes = ArrayPool<byte>.Shared.Rent(ChunkBytes);
                var count = await from.ReceiveAsync(bytes.AsMemory(0, ChunkBytes), broken.Token);
                if (count == 0)
                    break;
                due = Math.Max(due, Stopwatch.GetTimestamp() + Ticks(Delay)) + Ticks(TimeSpan.FromSeconds((double)count / BytesPerSecond));
                if (Loss > 0 && Draw() < Loss)
                    due += Ticks(Retransmission);
                await chunks.Writer.WriteAsync(new Chunk(bytes, count, due), broken.Token);
            }
        }
        finally
        {
            chunks.Writer.Complete();
            await writing;
        }

        to.Shutdown(SocketShutdown.Send);
    }

    private async Task WriteAsync(ChannelReader<Chunk> chunks, Socket to, CancellationTokenSource broken)
    {
        try
        {
            await foreach (var (bytes, count, due) in chunks.ReadAllAsync(broken.Token))
            {
                var early = Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), due);
                if (early > TimeSpan.Zero)
                    await Task.Delay(early, broken.Token);
                await WhileCutAsync(broken.Token);
                for (var sent = 0; sent < count;)
                    sent += await to.SendAsync(bytes.AsMemory(sent, count - sent), broken.Token);
                Interlocked.Add(ref _carried, count);
                ArrayPool<byte>.Shared.Return(bytes);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The reader may wait for bytes that have nowhere to go.
            await broken.CancelAsync();
        }
    }

    private async Task WhileCutAsync(CancellationToken cancellationToken)
    {
        while (IsCut)
            await Task.Delay(TimeSpan.FromMilliseconds(10), cancellationToken);
    }

    private double Draw()
    {
        lock (_random)
            return _random.NextDouble();
    }

    private static long Ticks(TimeSpan time) => (long)(time.TotalSeconds * Stopwatch.Frequency);

    private readonly record struct Chunk(byte[] Bytes, int Count, long Due);
}
