using System.Net;
using DarkMatter.Grains;

namespace DarkMatter.Silo;

/// <summary>Everything a silo can be told.</summary>
public sealed record SiloOptions
{
    /// <summary>Port of the coordinator service (gRPC, HTTP/2 without TLS). Default 7400; 0 takes any free one.</summary>
    public int Port { get; init; } = 7400;

    /// <summary>Port of health and the status page (HTTP/1.1). Default 7401; 0 takes any free one.</summary>
    public int HttpPort { get; init; } = 7401;

    /// <summary>Address both ports listen on. Default 127.0.0.1: this machine only.</summary>
    public string Bind { get; init; } = "127.0.0.1";

    /// <summary>Folder of everything that survives a restart; one silo at a time. Made when it is missing.</summary>
    public string StateDirectory { get; init; } = "state";

    /// <summary>Silence after which a trainer counts as lost. Default 2 s; at least 200 ms.</summary>
    public TimeSpan FailureTimeout { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long a run waits for all wanted trainers before it begins with fewer. Default 2 min; at least 1 s.</summary>
    public TimeSpan JoinTimeout { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>How long trainers have to come back after a restart of the silo before they count as lost. Default 10 s; at least 1 s.</summary>
    public TimeSpan ReturnTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long stopping may take: calls under way end, grains write their state. Default 10 s; at least 1 s.</summary>
    public TimeSpan StopTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Stop when standard input ends, so that a silo never outlives the process that started it. Default false.</summary>
    public bool ParentPipe { get; init; }

    /// <summary>The roster's part of these options.</summary>
    public RosterOptions Roster => new() { FailureTimeout = FailureTimeout, JoinTimeout = JoinTimeout, ReturnTimeout = ReturnTimeout };

    /// <summary>Names everything that is wrong; empty when nothing is.</summary>
    public IReadOnlyList<string> Problems()
    {
        var problems = new List<string>();
        Check(Port is >= 0 and <= ushort.MaxValue, $"port is {Port}, but must be 0 (any free one) to 65535");
        Check(HttpPort is >= 0 and <= ushort.MaxValue, $"http-port is {HttpPort}, but must be 0 (any free one) to 65535");
        Check(Port == 0 || Port != HttpPort, $"port and http-port are both {Port}, but must differ");
        Check(IPAddress.TryParse(Bind, out _), $"bind is '{Bind}', but must be an IP address such as 127.0.0.1 or 0.0.0.0");
        Check(!string.IsNullOrWhiteSpace(StateDirectory), "state is empty, but must name a folder");
        Check(StopTimeout >= TimeSpan.FromSeconds(1), $"stop-timeout is {StopTimeout.TotalSeconds} s, but must be at least 1 s");
        Check(FailureTimeout >= TimeSpan.FromMilliseconds(200),
            $"failure-timeout is {FailureTimeout.TotalSeconds} s, but must be at least 0.2 s");
        Check(JoinTimeout >= TimeSpan.FromSeconds(1), $"join-timeout is {JoinTimeout.TotalSeconds} s, but must be at least 1 s");
        Check(ReturnTimeout >= TimeSpan.FromSeconds(1), $"return-timeout is {ReturnTimeout.TotalSeconds} s, but must be at least 1 s");
        return problems;

        void Check(bool holds, string problem)
        {
            if (!holds)
            {
                problems.Add(problem);
            }
        }
    }
}

/// <summary>The silo cannot start, for a reason that the person who started it can remove. The message says how.</summary>
public sealed class SiloStartException : Exception
{
    /// <summary>Makes one with what is wrong and what to do.</summary>
    public SiloStartException(string message) : base(message) { }

    /// <summary>Makes one with what is wrong, what to do, and its cause.</summary>
    public SiloStartException(string message, Exception innerException) : base(message, innerException) { }

    /// <summary>Makes one that says nothing in particular.</summary>
    public SiloStartException() : base("The silo cannot start.") { }
}
