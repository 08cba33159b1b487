using DarkMatter.Trainer.Collectives;

namespace DarkMatter.Trainer.Tests.Training;

/// <summary>Runs the ranks of a world as threads of this process.</summary>
public static class ThreadRanks
{
    /// <summary>Runs <paramref name="body"/> as every rank and returns the results in rank order. The first failure ends all.</summary>
    public static T[] Run<T>(int world, Func<ICollective, T> body)
    {
        var ranks = InProcessCollective.Create(world).Cast<InProcessCollective>().ToArray();
        var results = new T[world];
        Exception? failure = null;
        var threads = ranks.Select(rank => new Thread(() =>
        {
            try
            {
                results[rank.Rank] = body(rank);
            }
            catch (Exception e)
            {
                Interlocked.CompareExchange(ref failure, e, null);
                rank.Abort(rank.Rank, e.Message);
            }
        }, maxStackSize: 16 << 20)).ToList();
        threads.ForEach(t => t.Start());
        threads.ForEach(t => t.Join());
        return failure is null ? results : throw new AggregateException(failure.Message, failure);
    }
}
