using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Tests.Training;

/// <summary>The whole step over real streams: buckets on their way while normalisation and gather talk as well.</summary>
[Collection(TorchCollection.Name)]
public sealed class GrpcTrainingTests
{
    private static readonly TrainOptions Options = TrainingRunTests.Comparable with
    {
        Model = new ResNetOptions { Width = 24, Stem = ResNetStem.SmallStride2 },
    };

    [Theory]
    [InlineData(2, 4 << 20)]
    [InlineData(2, 256 << 10)]
    [InlineData(3, 512 << 10)]
    public async Task Execute_OverGrpc_HasTheLossesOfOneRank(int world, int bucketBytes)
    {
        var single = new RecordedSession();
        TrainingRunTests.Run(Options, new SingleRank(1), single);

        var servers = await Task.WhenAll(Enumerable.Range(0, world).Select(_ => PeerServer.StartAsync()));
        var peers = servers.Select(s => s.Address).ToArray();
        var ranks = await Task.WhenAll(servers.Select((server, rank) =>
            GrpcCollective.ConnectAsync(server, new CollectiveOptions { Generation = 1, Rank = rank, Peers = peers })));
        try
        {
            var sessions = await Task.WhenAll(ranks.Select(collective => Task.Factory.StartNew(() =>
            {
                var session = new RecordedSession();
                TrainingRunTests.Run(TrainingRunTests.Share(Options with { BucketBytes = bucketBytes }, collective), collective, session);
                return session;
            }, TaskCreationOptions.LongRunning)));
            foreach (var session in sessions)
            {
                session.Steps.Select(s => (s.Loss, s.StateHash)).ShouldBe(sessions[0].Steps.Select(s => (s.Loss, s.StateHash)));
                foreach (var (step, reference) in session.Steps.Zip(single.Steps))
                    step.Loss.ShouldBe(reference.Loss, 1e-4 * reference.Loss);
                session.Steps.ShouldAllBe(s => s.ExposedCommunication > TimeSpan.Zero);
            }
        }
        finally
        {
            foreach (var collective in ranks)
                await collective.DisposeAsync();
            foreach (var server in servers)
                await server.DisposeAsync();
        }
    }
}
