using System.Diagnostics;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>How often and how long a request is repeated.</summary>
public sealed record RetryOptions
{
    /// <summary>The pause after the first failure. Default 200 ms.</summary>
    public TimeSpan First { get; init; } = TimeSpan.FromMilliseconds(200);

    /// <summary>Each pause is this times the one before. Default 2.</summary>
    public double Factor { get; init; } = 2;

    /// <summary>No pause is longer. Default 10 s.</summary>
    public TimeSpan Longest { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>No attempt begins later than this after the first. Default 2 minutes.</summary>
    public TimeSpan Within { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>
    /// The pause after a number of failures: exponential, and of that a random half and more, so that many who failed together do not come
    /// back together.
    /// </summary>
    /// <param name="failures">1 and above.</param>
    /// <param name="random">From 0 to 1.</param>
    public TimeSpan Pause(int failures, double random)
    {
        var longest = Math.Min(First.TotalSeconds * Math.Pow(Factor, failures - 1), Longest.TotalSeconds);
        return TimeSpan.FromSeconds(longest * (0.5 + (0.5 * random)));
    }
}

/// <summary>Repeats requests that failed for a reason that may pass.</summary>
/// <param name="options">How often.</param>
/// <param name="time">The clock.</param>
public sealed class Retry(RetryOptions options, TimeProvider time)
{
    /// <summary>Does the work until it succeeds, fails for good, or time is up; then the last failure is thrown.</summary>
    /// <param name="work">One attempt.</param>
    /// <param name="isTransient">Whether a failure may pass.</param>
    /// <param name="cancellationToken">Ends the work and the pauses.</param>
    public async Task<T> RunAsync<T>(Func<Task<T>> work, Func<Exception, bool> isTransient, CancellationToken cancellationToken)
    {
        var start = time.GetTimestamp();
        for (var failures = 1; ; failures++)
        {
            TimeSpan pause;
            try
            {
                return await work();
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested && isTransient(e))
            {
                pause = options.Pause(failures, Random.Shared.NextDouble());
                if (time.GetElapsedTime(start) + pause > options.Within)
                    throw;
                Trace.TraceInformation($"attempt {failures} failed, again in {pause.TotalSeconds:0.0} s: {e.Message}");
            }

            await Task.Delay(pause, time, cancellationToken);
        }
    }
}
