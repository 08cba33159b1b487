using System.Globalization;
using DarkMatter.Grains;
using DarkMatter.Protocol;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.Extensions.Hosting;
using Orleans;
using Orleans.Concurrency;
using Orleans.Runtime;

namespace DarkMatter.Silo;

/// <summary>The banks' calls: shares what comes for a bank out to its partitions, and brings together what they say. See bank.proto.</summary>
internal sealed class BankService(IGrainFactory grains, IHostApplicationLifetime lifetime) : Banks.BanksBase
{
    /// <summary>Bytes of rows in one message to a reader.</summary>
    private const int PartBytes = 1 << 20;

    public override async Task Feed(IAsyncStreamReader<BankMessage> requestStream, IServerStreamWriter<BankState> responseStream, ServerCallContext context)
    {
        var fed = new Dictionary<(string Run, string Bank), FedBank>();
        // Open streams would keep the silo from stopping.
        using var over = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, lifetime.ApplicationStopping);
        while (await Next(requestStream, over.Token))
        {
            var message = requestStream.Current;
            try
            {
                await responseStream.WriteAsync(await Take(fed, message), over.Token);
            }
            catch (Exception exception) when (exception is OrleansException or TimeoutException)
            {
                throw new RpcException(new Status(StatusCode.Unavailable, exception.Message));
            }
        }
    }

    public override async Task Read(BankReadRequest request, IServerStreamWriter<BankPart> responseStream, ServerCallContext context)
    {
        Named(request.Run, request.Bank);
        var first = await Partition(request.Run, request.Bank, 0).Status();
        if (first.Shape is not { } shape)
        {
            throw ProtocolMapping.ToException(Refusal.NotFound, $"no trainer of run '{request.Run}' has told this silo of a bank '{request.Bank}' yet");
        }

        for (int p = 0; p < shape.Partitions; p++)
        {
            var known = p < request.Known.Count ? request.Known[p] : new BankCursor();
            var delta = await Partition(request.Run, request.Bank, p).Read(known.Life, known.Version);
            foreach (var part in Parts(shape, p, delta))
            {
                await responseStream.WriteAsync(part, context.CancellationToken);
            }
        }
    }

    private static async Task<bool> Next(IAsyncStreamReader<BankMessage> stream, CancellationToken over)
    {
        try
        {
            return await stream.MoveNext(over);
        }
        catch (OperationCanceledException)
        {
            throw new RpcException(new Status(StatusCode.Unavailable, "the silo stops"));
        }
    }

    private async Task<BankState> Take(Dictionary<(string Run, string Bank), FedBank> fed, BankMessage message)
    {
        Named(message.Run, message.Bank);
        if (message.KindCase == BankMessage.KindOneofCase.Open)
        {
            var shape = new BankShape(message.Open.Rows, message.Open.RowBytes, message.Open.Lanes);
            if (shape.Problem is { } problem)
            {
                throw ProtocolMapping.ToException(Refusal.InvalidArgument, problem);
            }

            fed[(message.Run, message.Bank)] = new FedBank(shape, [.. Enumerable.Range(0, shape.Partitions).Select(p => Partition(message.Run, message.Bank, p))]);
        }
        else if (!fed.ContainsKey((message.Run, message.Bank)))
        {
            throw ProtocolMapping.ToException(Refusal.FailedPrecondition, $"bank '{message.Bank}' of run '{message.Run}' was not opened on this stream");
        }

        var bank = fed[(message.Run, message.Bank)];
        await (message.KindCase switch
        {
            BankMessage.KindOneofCase.Open => bank.All((grain, _) => grain.Begin(bank.Shape, message.Generation, message.Step)),
            BankMessage.KindOneofCase.Append => Append(bank, message),
            BankMessage.KindOneofCase.Seed => bank.One(message.Seed.Partition, grain => grain.Seed(message.Generation, new BankSeed
            {
                Step = message.Step,
                From = message.Seed.From,
                First = message.Seed.First,
                Rows = message.Seed.Rows.ToByteArray(),
                Begins = message.Seed.Begins,
                Ends = message.Seed.Ends,
            })),
            _ => throw ProtocolMapping.ToException(Refusal.InvalidArgument, "a message to a bank opens it, appends or gives rows"),
        });
        return bank.State();
    }

    private static Task Append(FedBank bank, BankMessage message)
    {
        var lanes = Split(bank.Shape, message.Append);
        return bank.All((grain, p) => grain.Append(message.Generation, message.Step, new Immutable<BankLane[]>(lanes[p])));
    }

    /// <summary>Every partition hears of every lane, also of those that write nothing there: so it knows when a step is whole.</summary>
    private static BankLane[][] Split(BankShape shape, BankAppend append)
    {
        var parts = Enumerable.Range(0, shape.Partitions).Select(_ => new BankLane[append.Lanes.Count]).ToArray();
        foreach (var (i, lane) in append.Lanes.Index())
        {
            int count = lane.Rows.Length / shape.RowBytes;
            if (lane.Rows.Length % shape.RowBytes != 0 || (lane.Places.Count > 0 && lane.Places.Count != count))
            {
                throw ProtocolMapping.ToException(
                    Refusal.InvalidArgument, $"lane {lane.Lane} gives {lane.Places.Count} places and {lane.Rows.Length} bytes of rows of {shape.RowBytes}");
            }

            long[] places = lane.Places.Count > 0 ? [.. lane.Places] : [.. Enumerable.Range(0, count).Select(row => lane.FirstPlace + row)];
            if (places.Any(place => place < 0 || place >= shape.Rows))
            {
                throw ProtocolMapping.ToException(Refusal.InvalidArgument, $"lane {lane.Lane} writes outside the {shape.Rows} rows of the bank");
            }

            var of = places.Index().ToLookup(place => (int)(place.Item / shape.PartitionRows));
            for (int p = 0; p < parts.Length; p++)
            {
                byte[] rows = new byte[of[p].Count() * shape.RowBytes];
                foreach (var (at, (index, _)) in of[p].Index())
                {
                    lane.Rows.Span.Slice(index * shape.RowBytes, shape.RowBytes).CopyTo(rows.AsSpan(at * shape.RowBytes));
                }

                parts[p][i] = new BankLane(lane.Lane, [.. of[p].Select(place => (int)(place.Item % shape.PartitionRows))], rows);
            }
        }

        return parts;
    }

    private static IEnumerable<BankPart> Parts(BankShape shape, int partition, BankDelta delta)
    {
        int each = Math.Max(1, PartBytes / shape.RowBytes);
        long offset = (long)partition * shape.PartitionRows;
        for (int first = 0; first == 0 || first < delta.Places.Length; first += each)
        {
            int count = Math.Min(each, delta.Places.Length - first);
            var places = delta.Places.AsSpan(first, count);
            bool last = first + count >= delta.Places.Length;
            var part = new BankPart
            {
                Partition = partition,
                Cursor = last ? new BankCursor { Life = delta.Status.Life, Version = delta.Status.Step < 0 ? 0 : delta.Status.Version } : null,
                Step = delta.Status.Step,
                Generation = delta.Status.Generation,
                Whole = delta.Whole && first == 0,
                Rows = UnsafeByteOperations.UnsafeWrap(delta.Rows.AsMemory(first * shape.RowBytes, count * shape.RowBytes)),
                Last = last,
                BankRows = shape.Rows,
                RowBytes = shape.RowBytes,
            };
            if (count > 0 && places[^1] - places[0] == count - 1)
            {
                part.FirstPlace = offset + places[0];
            }
            else
            {
                part.Places.AddRange(places.ToArray().Select(place => offset + place));
            }

            yield return part;
        }
    }

    private IBankGrain Partition(string run, string bank, int partition) => grains.GetGrain<IBankGrain>(Bank.KeyOf(run, bank, partition));

    private static void Named(string run, string bank)
    {
        if (run.Length == 0 || bank.Length == 0 || run.Contains('/', StringComparison.Ordinal) || bank.Contains('/', StringComparison.Ordinal))
        {
            throw ProtocolMapping.ToException(Refusal.InvalidArgument, string.Create(CultureInfo.InvariantCulture, $"'{run}' and '{bank}' name no run and bank"));
        }
    }

    /// <summary>A bank on one stream, and what its partitions said last.</summary>
    private sealed class FedBank(BankShape shape, IBankGrain[] partitions)
    {
        private readonly BankStatus[] _said = [.. partitions.Select(_ => new BankStatus())];

        public BankShape Shape => shape;

        public async Task All(Func<IBankGrain, int, Task<BankStatus>> ask) =>
            (await Task.WhenAll(partitions.Select(ask))).CopyTo(_said, 0);

        public async Task One(int partition, Func<IBankGrain, Task<BankStatus>> ask)
        {
            if (partition < 0 || partition >= partitions.Length)
            {
                throw ProtocolMapping.ToException(Refusal.InvalidArgument, $"there is no partition {partition}; the bank has {partitions.Length}");
            }

            _said[partition] = await ask(partitions[partition]);
        }

        public BankState State()
        {
            var refused = _said.FirstOrDefault(s => s.Refusal != Refusal.None);
            var state = new BankState
            {
                Refusal = refused is null ? 0 : (int)ProtocolMapping.ToException(refused.Refusal, refused.Message).StatusCode,
                Message = refused?.Message ?? "",
                Step = _said.Min(s => s.Step),
                Generation = _said.Max(s => s.Generation),
            };
            state.Wanted.AddRange(_said.Index().Where(s => s.Item.Step < 0 || s.Item.Stuck).Select(s => s.Index));
            return state;
        }
    }
}
