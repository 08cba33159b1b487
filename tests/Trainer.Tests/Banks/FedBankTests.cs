using DarkMatter.Protocol;
using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Tests.Training;
using DarkMatter.Trainer.Training;
using Grpc.Core;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Banks;

/// <summary>What a rank sends when rows were lost, and what it waits for.</summary>
[Collection(TorchCollection.Name)]
public sealed class FedBankTests
{
    private const int Batch = 4096, Length = 3 * Batch, D = 128, Lanes = 4;
    private static readonly BankPlace First = new(Generation: 1, Rank: 0, FirstLane: 0, Lanes: 2, LaneCount: Lanes);

    [Fact]
    public void TooMuchWaits_WithinAGeneration_RankZeroGivesTheRowsWholeOnce()
    {
        using var scope = NewDisposeScope();
        using var queue = new KeyQueue(Length, Batch, D, new BankOptions());
        var fed = new FedBank("queue", queue);
        fed.Begin(healed: false);
        Append(queue, fed, steps: 1);
        Answer(fed, step: 0);
        fed.NextSeed().Parts.ShouldBeEmpty("update 1 is on its way");

        var most = (int)(FedBank.MostBytes / (Batch * queue.RowBytes)) + 2;       // with the silo away
        Append(queue, fed, most);
        Answer(fed, step: 0);
        var (update, parts) = fed.NextSeed();
        update.ShouldBe(most + 1);
        (parts[0].Begins, parts[^1].Ends).ShouldBe((true, true));
        parts.Sum(p => p.Rows.Length).ShouldBe(Length * queue.RowBytes);
        foreach (var (one, next) in parts.Zip(parts.Skip(1)))
            next.From.ShouldBe(one.First + (one.Rows.Length / queue.RowBytes));
        fed.Heard(new BankState { Step = update }, new BankMessage { Seed = parts[^1] }, First);
        Append(queue, fed, steps: 1);
        Answer(fed, step: update);
        fed.NextSeed().Parts.ShouldBeEmpty("now steps follow again");
    }

    [Fact]
    public void WhatIsAnswered_IsNotWaitedFor_ThoughOthersHaveNotSentTheirs()
    {
        using var scope = NewDisposeScope();
        using var queue = new KeyQueue(Length, Batch, D, new BankOptions());
        var fed = new FedBank("queue", queue);
        fed.Begin(healed: false);
        fed.Waits.ShouldBeFalse();
        Append(queue, fed, steps: 2);
        fed.Waits.ShouldBeTrue();
        Answer(fed, step: 0);
        fed.Waits.ShouldBeTrue("one of two");
        Answer(fed, step: 0);
        fed.Waits.ShouldBeFalse();
        fed.Reopen();
        fed.Waits.ShouldBeTrue("the silo may have lost it");
    }

    [Fact]
    public void NextAppend_LanesLargerThanAMessage_AreParted()
    {
        using var scope = NewDisposeScope();
        using var queue = new KeyQueue(8 * Batch, 4 * Batch, D, new BankOptions());
        var fed = new FedBank("queue", queue);
        fed.Begin(healed: false);
        Append(queue, fed, steps: 1);                                             // 2 lanes of 2 MiB
        fed.NextAppend(First).Parts.Select(p => p.Lanes.Single().Lane).ShouldBe([0, 1]);
        FedBank.LaneBytes(queue, Lanes).ShouldBeLessThan(FedBank.MostLaneBytes);
        FedBank.LaneBytes(queue, 2).ShouldBeGreaterThan(FedBank.MostLaneBytes, "and such a bank is not fed");
    }

    /// <summary>Whatever a stream may throw: it is said, and nothing piles up.</summary>
    [Fact]
    public async Task Feed_ThatFailsUnexpectedly_SaysSoAndTakesNoMore()
    {
        var options = Options;
        await using var trainer = new FedTrainer(options, new Protocol.Banks.BanksClient(new Broken()));
        trainer.Begin(new SingleRank(1), 0, options.LaneCount);
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (trainer.Notes.IsEmpty)
            await Task.Delay(10, deadline.Token);
        trainer.Notes.ShouldHaveSingleItem().ShouldBe("this rank gives its rows for the bank to the silo no longer: NotSupportedException: broken");
        trainer.Write(new ImageRows([1], ones(1, 16)));
    }

    [Fact]
    public async Task Feed_LanesThatNoMessageCarries_AreNotFedAndItIsSaidOnce()
    {
        await using var trainer = new FedTrainer(Options with { GlobalBatch = 1 << 20, LaneCount = 2, Lanes = 2 }, new Protocol.Banks.BanksClient(new Broken()));
        for (var generation = 1; generation <= 2; generation++)
            trainer.Begin(new SingleRank(generation), 0, 2);
        trainer.Notes.ShouldHaveSingleItem().ShouldContain("bytes of bank 'memory' in a step, and a message to the silo carries 3145728");
    }

    private static TrainOptions Options => TrainingRunTests.Options with
    {
        ImageSize = 24,
        DatasetImages = 50,
        Method = new PirlOptions { Negatives = 8, ProjectorOutput = 16 },
    };

    private static void Append(KeyQueue queue, FedBank fed, int steps)
    {
        for (var i = 0; i < steps; i++)
        {
            queue.Append(ones(queue.Batch, D), queue.Updates + 1);
            fed.Take();
        }
    }

    /// <summary>The next update is sent and answered.</summary>
    private static void Answer(FedBank fed, long step)
    {
        var (update, parts) = fed.NextAppend(First);
        foreach (var part in parts)
            fed.Heard(new BankState { Step = step }, new BankMessage { Step = update, Append = part }, First);
        if (parts.Count == 0)
            fed.Heard(new BankState { Step = step }, new BankMessage { Append = new BankAppend() }, First);
        fed.Answered(update);
    }

    private sealed class Broken : CallInvoker
    {
        public override TResponse BlockingUnaryCall<TRequest, TResponse>(Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request) => throw Failure();

        public override AsyncUnaryCall<TResponse> AsyncUnaryCall<TRequest, TResponse>(Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request) => throw Failure();

        public override AsyncServerStreamingCall<TResponse> AsyncServerStreamingCall<TRequest, TResponse>(Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request) => throw Failure();

        public override AsyncClientStreamingCall<TRequest, TResponse> AsyncClientStreamingCall<TRequest, TResponse>(Method<TRequest, TResponse> method, string? host, CallOptions options) => throw Failure();

        public override AsyncDuplexStreamingCall<TRequest, TResponse> AsyncDuplexStreamingCall<TRequest, TResponse>(Method<TRequest, TResponse> method, string? host, CallOptions options) => throw Failure();

        private static NotSupportedException Failure() => new("broken");
    }
}
