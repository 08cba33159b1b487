using System.Diagnostics;
using DarkMatter.Protocol;
using DarkMatter.Trainer.Training;
using Grpc.Core;

namespace DarkMatter.Trainer.Banks;

/// <summary>
/// Gives the silo this rank's lanes of every step, over a stream of its own and off the training thread: a slow or absent silo holds up nothing. What the
/// silo lost, because it was restarted or a rank died with rows unsent, rank 0 gives it again, a partition at a time.
/// </summary>
public sealed class SiloBankFeed : IBankFeed, IAsyncDisposable
{
    private static readonly TimeSpan FirstBackoff = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan LongestBackoff = TimeSpan.FromSeconds(5);

    /// <summary>How long the end of a trainer waits for the silo to take the last rows.</summary>
    private static readonly TimeSpan LastPatience = TimeSpan.FromSeconds(2);

    /// <summary>A message that is not answered within this breaks the stream.</summary>
    private static readonly TimeSpan AnswerDeadline = TimeSpan.FromSeconds(30);

    private readonly Protocol.Banks.BanksClient _client;
    private readonly string _run;
    private readonly Action<string> _note;
    private readonly Lock _gate = new();
    private readonly SemaphoreSlim _changed = new(0, 1);
    private readonly CancellationTokenSource _closing = new();
    private readonly Task _sending;
    private Dictionary<string, FedBank> _banks = [];
    private readonly HashSet<string> _tooWide = [];
    private BankPlace? _place;
    private bool _training;
    private bool _over;

    /// <summary>Begins to wait for a generation with banks.</summary>
    /// <param name="client">The silo.</param>
    /// <param name="run">The run.</param>
    /// <param name="note">Gets what a person may want to read.</param>
    public SiloBankFeed(Protocol.Banks.BanksClient client, string run, Action<string> note)
    {
        (_client, _run, _note) = (client, run, note);
        _sending = Task.Run(SendAsync);
    }

    /// <inheritdoc/>
    public void Began(TrainOptions options, TrainState state, bool healed)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(options);
        lock (_gate)
        {
            if (_over)
                return;
            _banks = state.Banks.Where(b => b.Bank.Length > 0 && Fits(b.Name, b.Bank, options.LaneCount))
                .ToDictionary(b => b.Name, b => _banks.GetValueOrDefault(b.Name) ?? new FedBank(b.Name, b.Bank));
            _place = new BankPlace(state.Ranks.Generation, state.Ranks.Rank, options.FirstLane, options.Lanes, options.LaneCount);
            _training = true;
            foreach (var bank in _banks.Values)
                bank.Begin(healed);
        }

        Wake();
    }

    /// <inheritdoc/>
    public void Stepped(TrainState state)
    {
        if (_banks.Count == 0)
            return;
        lock (_gate)
        {
            foreach (var bank in _banks.Values)
                bank.Take();
        }

        Wake();
    }

    /// <inheritdoc/>
    public void Ended()
    {
        lock (_gate)
            _training = false;
    }

    /// <summary>Ends the stream, once this rank's rows are sent and answered or that takes too long.</summary>
    public async ValueTask DisposeAsync()
    {
        for (var start = Stopwatch.GetTimestamp(); Waits() && Stopwatch.GetElapsedTime(start) < LastPatience;)
            await Task.Delay(LastPatience / 100);
        await _closing.CancelAsync();
        await Task.WhenAny(_sending, Task.Delay(LongestBackoff));
    }

    private bool Fits(string name, Bank bank, int lanes)
    {
        var bytes = FedBank.LaneBytes(bank, lanes);
        if (bytes > FedBank.MostLaneBytes && _tooWide.Add(name))
            _note($"a lane writes {bytes} bytes of bank '{name}' in a step, and a message to the silo carries {FedBank.MostLaneBytes}: readers outside the run will not find it; use more lanes");
        return bytes <= FedBank.MostLaneBytes;
    }

    private bool Waits()
    {
        lock (_gate)
            return _banks.Values.Any(bank => bank.Waits) && !_sending.IsCompleted;
    }

    private void Wake()
    {
        if (_changed.CurrentCount == 0)
        {
            try
            {
                _changed.Release();
            }
            catch (SemaphoreFullException)
            {
                // Another has woken it.
            }
        }
    }

    private async Task SendAsync()
    {
        var (wait, told) = (FirstBackoff, "");
        while (!_closing.IsCancellationRequested)
        {
            try
            {
                if (Place() is { } place)
                {
                    await UseStreamAsync(place);
                    (wait, told) = (FirstBackoff, "");
                    continue;
                }

                await _changed.WaitAsync(_closing.Token);
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.Unimplemented)
            {
                _note("this silo keeps no banks: readers outside the run will find none");
                TakeNoMore();
                return;
            }
            catch (Exception e) when (e is RpcException or IOException or InvalidOperationException or OperationCanceledException)
            {
                if (_closing.IsCancellationRequested)
                    return;
                var why = (e as RpcException)?.Status.Detail ?? e.Message;
                if (told != why)
                    _note($"the silo did not take this rank's rows for the bank ({why}); trying again");
                told = why;
                await Task.Delay(wait, _closing.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                wait = wait * 2 < LongestBackoff ? wait * 2 : LongestBackoff;
            }
            catch (Exception e)
            {
                // Nothing that is worth trying again. Training goes on without readers, and nothing piles up for them.
                _note($"this rank gives its rows for the bank to the silo no longer: {e.GetType().Name}: {e.Message}");
                TakeNoMore();
                return;
            }
        }
    }

    private void TakeNoMore()
    {
        lock (_gate)
            (_over, _banks) = (true, []);
    }

    private BankPlace? Place()
    {
        lock (_gate)
            return _banks.Count == 0 ? null : _place;
    }

    /// <summary>One stream, until the next generation.</summary>
    private async Task UseStreamAsync(BankPlace place)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(_closing.Token);
        using var call = _client.Feed(cancellationToken: ended.Token);
        try
        {
            FedBank[] banks;
            lock (_gate)
                banks = [.. _banks.Values];
            foreach (var bank in banks)
            {
                BankMessage opening;
                lock (_gate)
                {
                    bank.Reopen();
                    opening = bank.Opening(place.LaneCount, place.Generation, _run);
                }

                await AskAsync(call, bank, place, opening);
            }

            while (Place() == place)
            {
                var sent = false;
                foreach (var bank in banks)
                    sent |= await SendNextAsync(call, bank, place);
                if (!sent)
                    await _changed.WaitAsync(_closing.Token);
            }
        }
        finally
        {
            await ended.CancelAsync();
        }
    }

    private async Task<bool> SendNextAsync(AsyncDuplexStreamingCall<BankMessage, BankState> call, FedBank bank, BankPlace place)
    {
        long update, seeded;
        List<BankAppend> appends;
        List<BankSeedPart> seed;
        lock (_gate)
        {
            if (_place != place)
                return true;
            (seeded, seed) = _training ? bank.NextSeed() : (0, []);
            (update, appends) = bank.NextAppend(place);
        }

        foreach (var part in seed)
            await AskAsync(call, bank, place, new BankMessage { Run = _run, Bank = bank.Name, Generation = place.Generation, Step = seeded, Seed = part });
        foreach (var append in appends)
            await AskAsync(call, bank, place, new BankMessage { Run = _run, Bank = bank.Name, Generation = place.Generation, Step = update, Append = append });
        if (appends.Count > 0)
        {
            lock (_gate)
            {
                if (_place == place)
                    bank.Answered(update);
            }
        }

        return appends.Count > 0 || seed.Count > 0;
    }

    private async Task AskAsync(AsyncDuplexStreamingCall<BankMessage, BankState> call, FedBank bank, BankPlace place, BankMessage message)
    {
        using var late = CancellationTokenSource.CreateLinkedTokenSource(_closing.Token);
        late.CancelAfter(AnswerDeadline);
        await call.RequestStream.WriteAsync(message, late.Token);
        if (!await call.ResponseStream.MoveNext(late.Token))
            throw new IOException("the silo ended the stream");
        var state = call.ResponseStream.Current;
        if (state.Refusal != 0)
            throw new RpcException(new Status((StatusCode)state.Refusal, state.Message));
        lock (_gate)
        {
            if (_place == place)
                bank.Heard(state, message, place);
        }
    }
}
