using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace DarkMatter.Trainer.Collectives;

/// <summary>
/// A world of threads in one process, for tests: the obvious twin of <see cref="GrpcCollective"/>. The last rank to arrive at a
/// call does the work while the others wait.
/// </summary>
public sealed class InProcessCollective : ICollective
{
    private readonly Meeting _meeting;
    private readonly Meeting _background;

    private InProcessCollective(int rank, long generation, Meeting meeting, Meeting background) =>
        (Rank, Generation, _meeting, _background) = (rank, generation, meeting, background);

    /// <inheritdoc/>
    public int Rank { get; }

    /// <inheritdoc/>
    public int World => _meeting.World;

    /// <inheritdoc/>
    public long Generation { get; }

    /// <summary>Creates the ranks of a world, in rank order; each is then used by its own thread.</summary>
    /// <param name="world">The number of ranks, at least 1.</param>
    /// <param name="timeout">How long a rank waits for the others; 60 s by default.</param>
    /// <param name="generation">The generation that the ranks report.</param>
    public static IReadOnlyList<ICollective> Create(int world, TimeSpan? timeout = null, long generation = 1)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(world, 1);
        var gate = new object();
        var meeting = new Meeting(world, timeout ?? TimeSpan.FromSeconds(60), gate);
        var background = new Meeting(world, timeout ?? TimeSpan.FromSeconds(60), gate);
        return [.. Enumerable.Range(0, world).Select(rank => new InProcessCollective(rank, generation, meeting, background))];
    }

    /// <summary>Ends the world: every call, now waiting or later, throws on every rank.</summary>
    public void Abort(int failedRank, string reason)
    {
        _meeting.Abort(new CollectiveAbortedException(reason, failedRank));
        _background.Abort(new CollectiveAbortedException(reason, failedRank));
    }

    /// <inheritdoc/>
    public unsafe void AllReduceSum(Span<float> buffer)
    {
        fixed (float* pointer = buffer)
        {
            _meeting.Attend(Rank, new Part(nameof(AllReduceSum), (nint)pointer, buffer.Length), Sum<float>).GetAwaiter().GetResult();
        }
    }

    /// <inheritdoc/>
    public unsafe void AllReduceSum(Span<double> buffer)
    {
        fixed (double* pointer = buffer)
        {
            _meeting.Attend(Rank, new Part("AllReduceSum of doubles", (nint)pointer, buffer.Length), Sum<double>).GetAwaiter().GetResult();
        }
    }

    /// <inheritdoc/>
    public async Task AllReduceSumAsync(Memory<float> buffer)
    {
        using var pin = buffer.Pin();
        await _background.Attend(Rank, Part.Of(nameof(AllReduceSumAsync), pin, buffer.Length), Sum<float>).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public unsafe void AllGather(ReadOnlySpan<byte> mine, Span<byte> all, ReadOnlySpan<int> counts)
    {
        CollectiveArguments.CheckGather(this, mine.Length, all.Length, counts);
        fixed (byte* pointer = mine)
        fixed (byte* target = all)
        {
            var part = new Part(nameof(AllGather), (nint)pointer, all.Length) { Target = (nint)target, Given = mine.Length };
            _meeting.Attend(Rank, part, Gather).GetAwaiter().GetResult();
        }
    }

    /// <inheritdoc/>
    public unsafe void Broadcast(Span<byte> buffer, int root)
    {
        CollectiveArguments.CheckRoot(this, root);
        fixed (byte* pointer = buffer)
        {
            var part = new Part($"Broadcast from rank {root}", (nint)pointer, buffer.Length);
            _meeting.Attend(Rank, part, parts =>
            {
                foreach (var other in parts)
                {
                    parts[root].Span<byte>().CopyTo(other.Span<byte>());
                }
            }).GetAwaiter().GetResult();
        }
    }

    /// <inheritdoc/>
    public void Barrier() => _meeting.Attend(Rank, new Part(nameof(Barrier), 0, 0), _ => { }).GetAwaiter().GetResult();

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        var left = new CollectiveAbortedException($"Rank {Rank} left generation {Generation}.", Rank);
        _meeting.Abort(left);
        _background.Abort(left);
        return ValueTask.CompletedTask;
    }

    private static void Sum<T>(Part[] parts)
        where T : unmanaged, System.Numerics.IAdditionOperators<T, T, T>, System.Numerics.IAdditiveIdentity<T, T>
    {
        var total = parts[0].Span<T>();
        foreach (var other in parts.AsSpan(1))
        {
            TensorPrimitives.Add(total, other.Span<T>(), total);
        }

        foreach (var other in parts.AsSpan(1))
        {
            total.CopyTo(other.Span<T>());
        }
    }

    private static unsafe void Gather(Part[] parts)
    {
        foreach (var to in parts)
        {
            var offset = 0;
            foreach (var from in parts)
            {
                new ReadOnlySpan<byte>((void*)from.Pointer, from.Given).CopyTo(new Span<byte>((void*)to.Target, to.Length)[offset..]);
                offset += from.Given;
            }
        }
    }

    /// <summary>What one rank brings to a call.</summary>
    private sealed record Part(string Call, nint Pointer, int Length)
    {
        public nint Target { get; init; }

        public int Given { get; init; }

        public static unsafe Part Of(string call, System.Buffers.MemoryHandle pin, int length) => new(call, (nint)pin.Pointer, length);

        public unsafe Span<T> Span<T>()
            where T : unmanaged => MemoryMarshal.CreateSpan(ref Unsafe.AsRef<T>((void*)Pointer), Length);
    }

    /// <summary>Where the ranks bring together their parts, one call after the other.</summary>
    private sealed class Meeting(int world, TimeSpan timeout, object gate)
    {
        private readonly Queue<Round> _rounds = new();
        private readonly int[] _attended = new int[world];
        private CollectiveAbortedException? _aborted;
        private int _finished;

        public int World => world;

        public Task Attend(int rank, Part part, Action<Part[]> work)
        {
            lock (gate)
            {
                if (_aborted is { } aborted)
                {
                    throw new CollectiveAbortedException(aborted.Message, aborted.FailedRank, aborted);
                }

                var index = _attended[rank]++ - _finished;
                if (index == _rounds.Count)
                {
                    _rounds.Enqueue(new Round(world));
                }

                var round = _rounds.ElementAt(index);
                round.Parts[rank] = part;
                if (++round.Arrived < world)
                {
                    return WaitAsync(round, rank, part.Call);
                }

                var different = Array.FindIndex(round.Parts, other => other!.Call != part.Call || other.Length != part.Length);
                if (different >= 0)
                {
                    var other = round.Parts[different]!;
                    Abort(new CollectiveAbortedException(
                        $"Rank {rank} calls {part.Call} of {part.Length} elements where rank {different} calls {other.Call} of {other.Length}: " +
                        "every rank must make the same calls in the same order."));
                }
                else
                {
                    work(round.Parts!);
                    _rounds.Dequeue();
                    _finished++;
                    round.Done.TrySetResult();
                }

                return round.Done.Task;
            }
        }

        public void Abort(CollectiveAbortedException reason)
        {
            lock (gate)
            {
                _aborted ??= reason;
                foreach (var round in _rounds)
                {
                    round.Done.TrySetException(new CollectiveAbortedException(_aborted.Message, _aborted.FailedRank, _aborted));
                }
            }
        }

        private async Task WaitAsync(Round round, int rank, string call)
        {
            try
            {
                await round.Done.Task.WaitAsync(timeout).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                var missing = Array.FindIndex(round.Parts, part => part is null);
                Abort(new CollectiveAbortedException($"Rank {missing} did not come to {call} within {timeout.TotalSeconds:F0} s of rank {rank}.", missing));
                await round.Done.Task.ConfigureAwait(false);
            }
        }

        private sealed class Round(int world)
        {
            public Part?[] Parts { get; } = new Part?[world];

            public TaskCompletionSource Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

            public int Arrived { get; set; }
        }
    }
}
