using System.Globalization;
using Orleans;
using Orleans.Concurrency;

namespace DarkMatter.Grains;

/// <summary>
/// Hosts one partition of a <see cref="Bank"/> in memory. Nothing of it is stored: the trainers' own copies are the truth, checkpoints hold them, and a
/// partition that starts empty is given its rows by a trainer. The run's newest generation, which is stored, fences older ones also after a restart.
/// </summary>
[GrainType("bank")]
public sealed class BankGrain : Grain, IBankGrain
{
    private readonly long _life = Random.Shared.NextInt64(1, long.MaxValue);
    private Bank? _bank;
    private string _run = "";
    private int _partition;

    /// <inheritdoc/>
    public override Task OnActivateAsync(CancellationToken cancellationToken)
    {
        string[] key = this.GetPrimaryKeyString().Split('/');
        (_run, _partition) = (key[0], int.Parse(key[^1], CultureInfo.InvariantCulture));
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public async Task<BankStatus> Begin(BankShape shape, long generation, long step)
    {
        if (shape.Problem is { } problem || _partition >= shape.Partitions)
        {
            return Refused(Refusal.InvalidArgument, shape.Problem ?? $"a bank of {shape.Rows} rows has no partition {_partition}");
        }

        if (_bank is null || generation > _bank.Generation)
        {
            long newest = (await GrainFactory.GetGrain<IRunGrain>(_run).Get())?.Progress.Generation ?? 0;
            if (generation > newest)
            {
                return Refused(Refusal.FailedPrecondition, $"run '{_run}' has no generation {generation}; its newest is {newest}");
            }

            if (_bank is null || (_bank.Shape != shape && generation == newest))
            {
                _bank = new Bank(shape, _partition, newest, _bank is null ? _life : _life + newest);
            }
        }

        return _bank.Shape == shape
            ? _bank.Begin(generation, step)
            : Refused(Refusal.InvalidArgument, $"this bank has {_bank.Shape.Rows} rows of {_bank.Shape.RowBytes} bytes and {_bank.Shape.Lanes} lanes, not {shape.Rows}, {shape.RowBytes} and {shape.Lanes}");
    }

    /// <inheritdoc/>
    public Task<BankStatus> Append(long generation, long step, Immutable<BankLane[]> lanes) =>
        Task.FromResult(_bank?.Append(generation, step, lanes.Value) ?? Unknown());

    /// <inheritdoc/>
    public Task<BankStatus> Seed(long generation, BankSeed seed) => Task.FromResult(_bank?.Seed(generation, seed) ?? Unknown());

    /// <inheritdoc/>
    public Task<BankDelta> Read(long life, long version) => Task.FromResult(_bank?.Read(life, version) ?? new BankDelta { Status = Unknown() });

    /// <inheritdoc/>
    public Task<BankStatus> Status() => Task.FromResult(_bank?.Status() ?? Unknown());

    private static BankStatus Unknown() => Refused(Refusal.FailedPrecondition, "no trainer has told this silo of the bank yet");

    private static BankStatus Refused(Refusal refusal, string message) => new() { Refusal = refusal, Message = message };
}
