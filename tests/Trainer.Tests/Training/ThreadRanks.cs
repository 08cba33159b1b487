using System.Runtime.InteropServices;
using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Trainer.Tests.Training;

/// <summary>Ranks that are threads: the n-th call of each rank meets the n-th calls of the others. Slow, obvious, and never in the wrong order.</summary>
public sealed class ThreadRanks : ICollective
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(60);
    private readonly Hall _hall;
    private int _call;

    private ThreadRanks(Hall hall, int rank) => (_hall, Rank) = (hall, rank);

    public int Rank { get; }

    public int World => _hall.World;

    public long Generation => 1;

    /// <summary>Runs <paramref name="body"/> as every rank of a world and returns the results in rank order. One failure ends all.</summary>
    public static T[] Run<T>(int world, Func<ICollective, T> body)
    {
        var hall = new Hall(world);
        var results = new T[world];
        var threads = Enumerable.Range(0, world).Select(rank => new Thread(() =>
        {
            try
            {
                results[rank] = body(new ThreadRanks(hall, rank));
            }
            catch (Exception e)
            {
                hall.Fail(e);
            }
        }, maxStackSize: 16 << 20)).ToList();
        threads.ForEach(t => t.Start());
        threads.ForEach(t => t.Join());
        return hall.Failure is { } failure ? throw new AggregateException(failure.Message, failure) : results;
    }

    public void AllReduceSum(Span<float> buffer) => Meet(MemoryMarshal.AsBytes(buffer), Sum<float>);

    public void AllReduceSum(Span<double> buffer) => Meet(MemoryMarshal.AsBytes(buffer), Sum<double>);

    public async Task AllReduceSumAsync(Memory<float> buffer)
    {
        var sum = await _hall.Enter(Rank, _call++, MemoryMarshal.AsBytes(buffer.Span).ToArray(), Sum<float>).WaitAsync(Deadline);
        sum.CopyTo(MemoryMarshal.AsBytes(buffer.Span));
    }

    public void AllGather(ReadOnlySpan<byte> mine, Span<byte> all, ReadOnlySpan<int> counts)
    {
        mine.Length.ShouldBe(counts[Rank]);
        var result = Wait(_hall.Enter(Rank, _call++, mine.ToArray(), parts => [.. parts.SelectMany(p => p)]));
        result.CopyTo(all);
    }

    public void Broadcast(Span<byte> buffer, int root) => Meet(buffer, parts => parts[root]);

    public void Barrier() => Meet([], parts => []);

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private void Meet(Span<byte> buffer, Func<byte[][], byte[]> combine) =>
        Wait(_hall.Enter(Rank, _call++, buffer.ToArray(), combine)).CopyTo(buffer);

    private static byte[] Wait(Task<byte[]> meeting) => meeting.WaitAsync(Deadline).GetAwaiter().GetResult();

    private static byte[] Sum<T>(byte[][] parts)
        where T : struct, System.Numerics.INumber<T>
    {
        var sum = (byte[])parts[0].Clone();
        var total = MemoryMarshal.Cast<byte, T>(sum.AsSpan());
        foreach (var part in parts.Skip(1))
        {
            part.Length.ShouldBe(sum.Length);
            var values = MemoryMarshal.Cast<byte, T>(part.AsSpan());
            for (var i = 0; i < total.Length; i++)
                total[i] += values[i];
        }

        return sum;
    }

    private sealed class Hall(int world)
    {
        private readonly Dictionary<int, (byte[]?[] Parts, TaskCompletionSource<byte[]> Result)> _meetings = [];

        public int World => world;

        public Exception? Failure { get; private set; }

        public Task<byte[]> Enter(int rank, int call, byte[] part, Func<byte[][], byte[]> combine)
        {
            lock (_meetings)
            {
                if (Failure is not null)
                    throw new CollectiveAbortedException("another rank failed", inner: Failure);
                if (!_meetings.TryGetValue(call, out var meeting))
                    _meetings[call] = meeting = (new byte[]?[world], new(TaskCreationOptions.RunContinuationsAsynchronously));
                meeting.Parts[rank] = part;
                if (meeting.Parts.All(p => p is not null))
                {
                    _meetings.Remove(call);
                    meeting.Result.SetResult(combine(meeting.Parts!));
                }

                return meeting.Result.Task;
            }
        }

        public void Fail(Exception failure)
        {
            lock (_meetings)
            {
                Failure ??= failure;
                foreach (var meeting in _meetings.Values)
                    meeting.Result.TrySetException(new CollectiveAbortedException("another rank failed", inner: failure));
            }
        }
    }
}
