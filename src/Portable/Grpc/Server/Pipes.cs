using System.IO.Pipelines;

namespace Grpc.AspNetCore.Server;

internal static class Pipes
{
    /// <summary>A flush as a task without its result.</summary>
    public static Task GetAsTask(this ValueTask<FlushResult> flush)
    {
        if (flush.IsCompletedSuccessfully)
        {
            _ = flush.Result;
            return Task.CompletedTask;
        }

        return flush.AsTask();
    }
}
