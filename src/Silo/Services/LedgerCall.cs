using System.Collections.Immutable;
using DarkMatter.Grains;
using DarkMatter.Protocol;

namespace DarkMatter.Silo;

/// <summary>The ledger call: everything an audit needs, in one answer.</summary>
internal sealed partial class CoordinatorService
{
    private async Task<Ledger> GetLedger(GetRunRequest request)
    {
        await Existing(request.Run);
        var stored = (await Run(request.Run).Ledger())!;
        var ledger = new Ledger
        {
            Run = stored.Run,
            TotalSteps = stored.TotalSteps,
            Batch = stored.Batch,
            Lanes = stored.Lanes,
            Dataset = stored.Dataset,
            DatasetDigest = stored.DatasetDigest,
            RecipeYaml = stored.RecipeYaml,
            State = (Protocol.RunState)(int)stored.State,
            Step = stored.Step,
        };
        ledger.Generations.AddRange(stored.Generations.Select(ToLedger));
        ledger.Quarantined.AddRange((await Quarantined(request.Run)).Select(s => new Protocol.QuarantinedSample
        {
            Shard = s.Shard,
            Index = s.Index,
            Key = s.Key,
            Reason = s.Reason,
        }));
        return ledger;
    }

    private async Task<ImmutableArray<BrokenSample>> Quarantined(string run)
    {
        var broken = ImmutableArray.CreateBuilder<BrokenSample>();
        foreach (int range in await Run(run).QuarantinedRanges())
        {
            broken.AddRange(await Shards(run, range).Quarantined());
        }

        return broken.ToImmutable();
    }

    private static LedgerGeneration ToLedger(GenerationRecord generation)
    {
        var record = new LedgerGeneration
        {
            Number = generation.Number,
            StartStep = generation.StartStep,
            CommittedStep = generation.CommittedStep,
            DigestStep = generation.DigestStep,
            SamplesDigest = generation.SamplesDigest,
            Lanes = generation.Lanes,
            Reason = generation.Reason,
            Began = generation.Began,
            Source = generation.Source,
            StateHash = generation.StateHash,
            Parent = generation.Parent,
            BeganUnixMs = generation.Began ? generation.BeganAt.ToUnixTimeMilliseconds() : 0,
        };
        record.Trainers.AddRange(generation.Trainers);
        record.Healed.AddRange(generation.Healed);
        return record;
    }
}
