using DarkMatter.EndToEnd.Tests;
using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Checkpoints;
using Grpc.Net.Client;

namespace DarkMatter.Faults;

/// <summary>MoCo's queue through failures of trainers and of the silo: ranks compare the hash of their state, queue included, after every step.</summary>
public sealed class BankFaultTests(Workshop workshop)
{
    [Fact]
    public async Task TrainerReplacedAndSiloRestarted_TheSilosQueueIsThatOfTheCheckpoint()
    {
        await using var cluster = new Cluster(workshop, "bank");
        await cluster.StartAsync(
            2, "--set", "method.name=moco", "--set", "method.queue=480", "--set", "method.shuffle_groups=4", "--set", "train.hash_every=1");
        var before = await cluster.StatusAsync();
        cluster.Trainers["trainer-1"].Signal("KILL");
        var alone = await cluster.UntilTrainsAsync(1, before.Generation, before.Step);
        var replaced = cluster.Trainers["trainer-1"].Output;
        cluster.StartTrainer("trainer-1");
        var both = await cluster.UntilTrainsAsync(2, alone.Generation, alone.Step);
        cluster.Silo.Signal("KILL");
        await cluster.Silo.FinishAsync();
        await cluster.StartSiloAsync();
        await cluster.UntilStepAsync(both.Step + 20);

        using var channel = GrpcChannel.ForAddress(cluster.Url);
        var reader = new BankReader(new Protocol.Banks.BanksClient(channel), cluster.Run, "queue");
        await cluster.UntilAsync(_ => Read(reader) >= both.Step, "rows of the bank in the new silo");
        await cluster.ShouldBeProvenAsync();
        var end = await cluster.StatusAsync();
        await cluster.UntilAsync(_ => Read(reader) == end.CheckpointStep, $"rows of step {end.CheckpointStep} in the silo");
        using var checkpoint = SafetensorsParts.Open([.. Directory.GetFiles(end.CheckpointPath, "model*.safetensors")]);
        var queue = new byte[480 * 32 * sizeof(float)];
        checkpoint.Read("queue.keys", queue);
        reader.Rows.ShouldBe(queue);
        foreach (var output in cluster.Trainers.Values.Select(t => t.Output).Append(replaced))
            output.ShouldNotContain("different states");
    }

    private static long Read(BankReader reader)
    {
        try
        {
            reader.ReadAsync(Command.Deadline, CancellationToken.None).GetAwaiter().GetResult();
            return reader.Step;
        }
        catch (Grpc.Core.RpcException e) when (e.StatusCode is Grpc.Core.StatusCode.NotFound or Grpc.Core.StatusCode.Unavailable)
        {
            return -1;
        }
    }
}
