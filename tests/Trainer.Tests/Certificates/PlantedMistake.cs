using DarkMatter.Trainer.Banks;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Certificates;

/// <summary>What is wrong with a <see cref="PlantedOptions"/>.</summary>
public enum Mistake
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>The gather gives each rank only the gradient of its own loss for its own rows: the classic 1/W bug.</summary>
    GatherWithoutSum = 1,

    /// <summary>The average of the last rank moves at another rate than the others'.</summary>
    MomentumOfOneRank = 2,

    /// <summary>The queue gets the keys of a step in another order than that of the lanes, on all ranks alike.</summary>
    OrderOfQueue = 3,

    /// <summary>Batch norm takes each rank's own statistics.</summary>
    LocalStatistics = 4,

    /// <summary>The gather is wrong in every second update only.</summary>
    EverySecondUpdate = 5,
}

/// <summary>SimCLR with a queue of keys of an averaged network, and perhaps a mistake that one rank alone cannot make.</summary>
internal sealed record PlantedOptions(Mistake Mistake) : MethodOptions
{
    public override string Name => "planted";

    public override MethodOptions Read(IOptionReader given) => this;

    public override IMethod Create(MethodSetup setup) =>
        new Planted(this, Mistake == Mistake.LocalStatistics ? setup with { Norm = setup.Norm with { Collective = null } } : setup);

    private sealed class Planted : JointEmbedding
    {
        private const double Momentum = 0.9;
        private readonly Mistake _mistake;
        private readonly Backbone _average;
        private readonly KeyQueue _queue;
        private Tensor? _keys;

        internal Planted(PlantedOptions options, MethodSetup setup)
            : base(options, setup)
        {
            _mistake = options.Mistake;
            _average = Part("average", MovingAverage.Begin(setup.Model.Create(setup.Norm), Backbone));
            _queue = Part("queue", new KeyQueue(2 * Share.Total, Share.Total, Backbone.Features, new BankOptions()));
        }

        public override MethodLoss Loss(Tensor x)
        {
            var z = Unit(Through(x, Backbone));
            using (no_grad())
                _keys = _queue.Gather(Unit(Through(Halves(x).Second, _average)), Share);
            var all = Candidates(z);
            var first = Halves(z).First;
            var own = _keys.narrow(0, Share.Offset, Share.Count);
            return new MethodLoss(
                SimClr.NtXent(z, all, Share, 0.5) + (MoCo.InfoNce(first, own, _queue.Keys(z.dtype), 0.5).sum() / Share.Total), z.detach());
        }

        public override void AfterUpdate(long step, long totalSteps)
        {
            var wrong = _mistake == Mistake.MomentumOfOneRank && Share.Ranks.World > 1 && Share.Ranks.Rank == Share.Ranks.World - 1;
            MovingAverage.Follow(_average, Backbone, wrong ? 1 - Momentum : Momentum);
            _queue.Append(_mistake == Mistake.OrderOfQueue && Share.Ranks.World > 1 ? _keys!.flip(0) : _keys!, step);
        }

        public override Tensor Energy(Tensor x, Tensor y) => 1 - (Unit(Through(x, Backbone)) * Unit(Through(y, Backbone))).sum(1);

        private Tensor Candidates(Tensor z)
        {
            int[] rows = [.. Share.Counts.Select(n => 2 * n)];
            if (_mistake != Mistake.GatherWithoutSum && !(_mistake == Mistake.EverySecondUpdate && _queue.Updates % 2 == 1))
                return Gather.Rows(z, Share.Ranks, rows);
            var all = Share.Ranks.AllGather(z, rows);
            var before = 2 * Share.Offset;
            return cat([all.narrow(0, 0, before), z, all.narrow(0, before + z.shape[0], all.shape[0] - before - z.shape[0])]);
        }
    }
}
