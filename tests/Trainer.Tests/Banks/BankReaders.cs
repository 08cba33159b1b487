using DarkMatter.Trainer.Banks;
using Grpc.Core;

namespace DarkMatter.Trainer.Tests.Banks;

/// <summary>Waits of a test for what a reader gets.</summary>
internal static class BankReaders
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    /// <summary>The step a reader gets now; −1: there is none to be had.</summary>
    public static async Task<long> Now(this BankReader reader)
    {
        try
        {
            await reader.ReadAsync(Patience, CancellationToken.None);
            return reader.Step;
        }
        catch (RpcException)
        {
            return -1;                                                           // the silo does not know of the bank yet
        }
    }

    public static async Task UntilAsync(this BankReader reader, Func<long, bool> condition)
    {
        using var deadline = new CancellationTokenSource(Patience);
        while (!condition(await reader.Now()))
            await Task.Delay(20, deadline.Token);
    }
}
