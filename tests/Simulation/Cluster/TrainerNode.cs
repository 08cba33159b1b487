using DarkMatter.Protocol;
using DarkMatter.Trainer.Commands.Sessions;

namespace DarkMatter.Simulation;

/// <summary>
/// A trainer's process: the real <see cref="Orders"/> and the real HealPlan decide; what computes and what copies is reduced to hashes. This
/// file is its life, the others its session, its generations and its checkpoints.
/// </summary>
internal sealed partial class TrainerNode : Node
{
    private readonly Orders _orders = new();
    private ulong? _flip;
    private bool _prepared;
    private bool _preparing;

    public TrainerNode(World world, string name, string incarnation) : base(world, name)
    {
        Name = name;
        Incarnation = incarnation;
        Address = $"http://{name}/{incarnation}";
        _orders.AtOnce += order => AtOnce(order);
        Talk();
        After(HeartbeatEvery, Beat);
    }

    public string Name { get; }

    public string Incarnation { get; }

    public string Address { get; }

    /// <summary>Its state of the run.</summary>
    public Memory Memory { get; private set; } = Memory.None;

    private long Held => Memory.Holds ? Memory.Step : -1;

    /// <summary>Its machine computes the next step wrongly.</summary>
    public void Taint(ulong bit) => _flip = bit;

    /// <summary>SIGTERM: it goes when the others can go on without it, at the latest when the grace is over.</summary>
    public void Drain()
    {
        if (_draining)
            return;
        _draining = true;
        Say(new TrainerMessage { Draining = new Draining { Generation = Generation, Reason = "drained", GraceSeconds = 25 } });
        After(TimeSpan.FromSeconds(15), () => Obey(new Order.Go("the silo did not answer", Last: false)));
        After(TimeSpan.FromSeconds(21), () => Obey(new Order.End(0, "the grace is nearly over")));
    }

    /// <summary>A new order: one that cannot wait ends the generation, and one for an idle trainer is taken at once.</summary>
    private void Obey(Order order)
    {
        _orders.Post(order);
        if (_place is null)
            TakeOrder();
    }

    private void AtOnce(Order order)
    {
        if (_place is { } place && !(order is Order.Train train && train.Assignment.Generation <= place.Generation))
            Exit("told to leave at once", abort: true);
    }

    private void TakeOrder()
    {
        if (_orders.Pending is null || _place is not null || _preparing)
            return;
        switch (_orders.Take())
        {
            case Order.Wait:
                Prepare(() => Ready("waits"));
                break;
            case Order.Train train:
                Prepare(() => Enter(train.Assignment));
                break;
            case Order.Rejoin:
                break; // The session joins anew by itself; the silo answers with an order.
            case Order.Stop { Over: false } when Held > 0:
                Ready("waits for the end");
                break;
            default:
                Leave(completed: false);
                break;
        }
    }

    // Networks are built and the dataset is opened once.
    private void Prepare(Action then)
    {
        if (_prepared)
        {
            then();
            return;
        }

        _preparing = true;
        After(World.Plan.PrepareTime(World.Random), () =>
        {
            (_preparing, _prepared) = (false, true);
            if (_orders.Pending is null)
                then();
            else
                TakeOrder();
        });
    }

    private void Leave(bool completed, bool failed = false)
    {
        var leaving = new Leaving { Generation = Generation, Step = Math.Max(0, Memory.Step), Completed = completed, Failed = failed, Reason = "leaves" };
        if (completed)
            leaving.Lineage.AddRange(Wire(Memory));
        Say(new TrainerMessage { Leaving = leaving });
        _leaving = true;
        // The last word goes out before the process ends; a silo that is away is not waited for longer than this.
        After(TimeSpan.FromSeconds(5), Kill);
        EndWhenSaid();
    }
}
