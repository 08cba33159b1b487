using System.Buffers;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Collectives;

/// <summary>State copied between ranks: from several donors at once, checked, and never half-believed.</summary>
public sealed class StateTransferTests
{
    private const int Elements = 300_000;

    [Fact]
    public async Task Fetch_FromThreeDonorsAtOnce_CopiesEveryByte()
    {
        await using var world = await World.ConnectAsync(4);
        using var source = arange(Elements, dtype: ScalarType.Float32);
        using var target = zeros(Elements);
        using var given = new StateMemory([source]);
        using var taken = new StateMemory([target]);
        var ranks = world.Ranks.Cast<GrpcCollective>().ToArray();
        var ranges = Healing.Ranges(given.Bytes, 3).ToList();
        var fetching = ranges.Select((range, donor) => ranks[3].FetchAsync(donor, range.Offset, range.Length, taken, CancellationToken.None)).ToArray();
        using (ranks[0].Offer(given))
        using (ranks[1].Offer(given))
        using (ranks[2].Offer(given))
            await Task.WhenAll(fetching).WaitAsync(World.Patience);
        target.bytes.SequenceEqual(source.bytes).ShouldBeTrue();
    }

    [Fact]
    public async Task Fetch_OfMoreThanThereIs_AbortsAndSaysSo()
    {
        await using var world = await World.ConnectAsync(2);
        using var source = zeros(8);
        using var target = zeros(16);
        using var given = new StateMemory([source]);
        using var taken = new StateMemory([target]);
        var ranks = world.Ranks.Cast<GrpcCollective>().ToArray();
        using var offer = ranks[0].Offer(given);
        var failure = await Should.ThrowAsync<CollectiveAbortedException>(() => ranks[1].FetchAsync(0, 0, taken.Bytes, taken, CancellationToken.None).WaitAsync(World.Patience));
        failure.Message.ShouldContain("bytes 0 to 64 of a state of 32");
        Should.Throw<CollectiveAbortedException>(ranks[0].Barrier).Message.ShouldContain("could not copy state");
    }

    [Fact]
    public async Task Fetch_WhenTheGenerationIsAborted_EndsWithIt()
    {
        await using var world = await World.ConnectAsync(2);
        using var target = zeros(16);
        using var taken = new StateMemory([target]);
        var ranks = world.Ranks.Cast<GrpcCollective>().ToArray();
        var fetching = ranks[1].FetchAsync(0, 0, taken.Bytes, taken, CancellationToken.None);   // nobody offers anything
        ranks[1].Abort("generation 2 begins");
        (await Should.ThrowAsync<CollectiveAbortedException>(() => fetching.WaitAsync(World.Patience))).Message.ShouldContain("generation 2 begins");
    }

    [Fact]
    public void Take_ADamagedOrMisplacedChunk_IsRefusedAndWritesNothing()
    {
        using var target = zeros(16);
        using var memory = new StateMemory([target]);
        var good = Chunk(offset: 8, [1, 2, 3, 4]);
        var damaged = good.ToArray();
        damaged[^1] ^= 1;
        foreach (var (message, what) in new[] { (damaged, "damaged on their way"), (Chunk(0, [1]), "where 8 to 64"), (Chunk(8, new byte[57]), "where 8 to 64"), (good[..10], "has 10 bytes") })
        {
            var receipt = new StateMethod.StateReceipt(memory, 8, 64);
            Should.Throw<InvalidDataException>(() => receipt.Take(new ReadOnlySequence<byte>(message))).Message.ShouldContain(what);
            target.abs().sum().item<float>().ShouldBe(0);
            receipt.IsComplete.ShouldBeFalse();
        }

        var taking = new StateMethod.StateReceipt(memory, 8, 12);
        taking.Take(new ReadOnlySequence<byte>(good));
        taking.IsComplete.ShouldBeTrue();
        target.bytes[8..12].ToArray().ShouldBe([1, 2, 3, 4]);
    }

    private static byte[] Chunk(long offset, byte[] bytes) => [.. BitConverter.GetBytes(offset), .. BitConverter.GetBytes(StateHash.Of(bytes)), .. bytes];
}
