namespace DarkMatter.Trainer.Collectives;

/// <summary>Who takes part in a generation's collectives, and their limits.</summary>
public sealed record CollectiveOptions
{
    /// <summary>The smallest world that no longer connects every rank with every other.</summary>
    public const int LargestDirectWorld = 16;

    /// <summary>The membership that these collectives belong to. It only grows.</summary>
    public required long Generation { get; init; }

    /// <summary>This trainer's place, 0 to <c>Peers.Count − 1</c>.</summary>
    public required int Rank { get; init; }

    /// <summary>Every rank's address in rank order, this one's included: <c>http://host:port</c>, as <see cref="PeerServer.Address"/> gives it.</summary>
    public required IReadOnlyList<string> Peers { get; init; }

    /// <summary>How long a rank waits until every stream stands. Default: 30 s.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// How long a call waits for the other ranks before it aborts the generation. It must cover the longest time that ranks may drift
    /// apart, such as an evaluation on one of them. Default: 120 s.
    /// </summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(120);

    /// <summary>
    /// Bytes up to which a sum is one exchange of every rank with every other (one hop) and not a ring (2 (W − 1) hops, but less to
    /// send where W > 2). Default: 64 KiB.
    /// </summary>
    public int DirectBytes { get; init; } = 64 * 1024;

    /// <summary>Bytes of the largest frame, a multiple of 8. Default: 256 KiB.</summary>
    public int PieceBytes { get; init; } = 256 * 1024;

    /// <summary>Bytes of frames that a rank keeps of a peer that is ahead; beyond it flow control holds the peer back. Default: 8 MiB.</summary>
    public int ReadAheadBytes { get; init; } = 8 * 1024 * 1024;

    /// <summary>The largest world in which every rank connects with every other; larger ones are rings. Default: 16.</summary>
    public int DirectWorld { get; init; } = LargestDirectWorld;

    /// <summary>Everything that is wrong with these options; empty when they can be used.</summary>
    public IReadOnlyList<string> Problems()
    {
        var problems = new List<string>();
        Require(Peers.Count >= 1, "Peers is empty: it lists every rank's address.");
        Require(Rank >= 0 && Rank < Peers.Count, $"Rank is {Rank}; with {Peers.Count} peers it is 0 to {Peers.Count - 1}.");
        Require(ConnectTimeout > TimeSpan.Zero, $"ConnectTimeout is {ConnectTimeout}; it must be positive.");
        Require(Timeout > TimeSpan.Zero, $"Timeout is {Timeout}; it must be positive.");
        Require(DirectBytes >= 0, $"DirectBytes is {DirectBytes}; it must not be negative.");
        Require(PieceBytes is >= 8 and <= 16 * 1024 * 1024 && PieceBytes % 8 == 0, $"PieceBytes is {PieceBytes}; it must be 8 to 16 MiB and a multiple of 8.");
        Require(ReadAheadBytes >= PieceBytes, $"ReadAheadBytes is {ReadAheadBytes}; it must hold at least one piece of {PieceBytes}.");
        Require(DirectWorld >= 0, $"DirectWorld is {DirectWorld}; it must not be negative.");
        return problems;

        void Require(bool holds, string problem)
        {
            if (!holds)
            {
                problems.Add(problem);
            }
        }
    }
}
