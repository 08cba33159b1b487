using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using DarkMatter.Bench;

namespace DarkMatter.Collectives.Bench;

/// <summary>What the figures were taken on, and what this machine can do at best.</summary>
internal static class Hardware
{
    public static void Print(string[] args)
    {
        Console.WriteLine($"{Machine.Hardware}; commit {Machine.Commit()}; arguments: {string.Join(' ', args)}");
        Console.WriteLine(Limits());
    }

    public static string Limits() =>
        $"physical limits: memcpy {Copy():F1} GB/s, loopback TCP {Loopback():F1} GB/s one way, TCP ping-pong {PingPong():F0} us there and back";

    private static double Copy()
    {
        var (from, to) = (new byte[100_000_000], new byte[100_000_000]);
        from.CopyTo(to, 0);
        var started = Stopwatch.GetTimestamp();
        for (var i = 0; i < 10; i++)
        {
            from.CopyTo(to, 0);
        }

        return 10 * from.Length / Stopwatch.GetElapsedTime(started).TotalSeconds / 1e9;
    }

    private static double Loopback()
    {
        var (near, far) = Connect();
        const long total = 1_000_000_000;
        var receiver = new Thread(() =>
        {
            var buffer = new byte[1 << 20];
            for (var left = total; left > 0; left -= far.Receive(buffer))
            {
            }
        });
        receiver.Start();
        var started = Stopwatch.GetTimestamp();
        var data = new byte[1 << 20];
        for (var left = total; left > 0; left -= near.Send(data.AsSpan(0, (int)Math.Min(left, data.Length))))
        {
        }

        receiver.Join();
        var seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        near.Dispose();
        far.Dispose();
        return total / seconds / 1e9;
    }

    private static double PingPong()
    {
        var (near, far) = Connect();
        const int rounds = 5000;
        var echo = new Thread(() =>
        {
            var buffer = new byte[64];
            for (var i = 0; i < rounds; i++)
            {
                far.Receive(buffer);
                far.Send(buffer);
            }
        });
        echo.Start();
        var message = new byte[64];
        var times = new double[rounds];
        for (var i = 0; i < rounds; i++)
        {
            var started = Stopwatch.GetTimestamp();
            near.Send(message);
            near.Receive(message);
            times[i] = Stopwatch.GetElapsedTime(started).TotalMicroseconds;
        }

        echo.Join();
        near.Dispose();
        far.Dispose();
        Array.Sort(times);
        return times[rounds / 2];
    }

    private static (Socket Near, Socket Far) Connect()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var near = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        near.Connect(listener.LocalEndpoint);
        var far = listener.AcceptSocket();
        far.NoDelay = true;
        return (near, far);
    }
}
