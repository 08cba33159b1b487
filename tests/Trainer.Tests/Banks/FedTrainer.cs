using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Tests.Banks;

/// <summary>
/// A trainer with a memory of every image that makes no steps of its own: it is told which rows an update writes, keeps them, and its feed takes them to a silo.
/// </summary>
internal sealed class FedTrainer : IAsyncDisposable
{
    private readonly SiloBankFeed _feed;
    private readonly TrainState _state;
    private readonly TrainOptions _options;

    /// <param name="options">A run whose method has a memory of every image and no other bank.</param>
    /// <param name="client">The silo.</param>
    public FedTrainer(TrainOptions options, Protocol.Banks.BanksClient client)
    {
        (_options, _state) = (options, TrainState.Prepare(options, TorchStack.Current));
        _feed = new SiloBankFeed(client, BankSilo.Run, Notes.Enqueue);
    }

    public System.Collections.Concurrent.ConcurrentQueue<string> Notes { get; } = [];

    public ImageMemory Memory => (ImageMemory)_state.Banks.Single().Bank;

    /// <summary>A generation with these lanes begins.</summary>
    public void Begin(ICollective ranks, int firstLane, int lanes)
    {
        _state.Enter(_options, ranks);
        _state.Begin(ranks.Generation);
        _feed.Began(_options with { FirstLane = firstLane, Lanes = lanes }, _state, healed: false);
    }

    /// <summary>An update of the global batch.</summary>
    public void Write(ImageRows rows)
    {
        Memory.Follow(rows, Memory.Updates + 1);
        _feed.Stepped(_state);
    }

    public async ValueTask DisposeAsync()
    {
        _feed.Ended();
        await _feed.DisposeAsync();
        _state.Dispose();
    }
}
