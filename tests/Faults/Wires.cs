using DarkMatter.EndToEnd.Tests;
using DarkMatter.Protocol;

namespace DarkMatter.Faults;

/// <summary>A cluster whose trainers reach each other and the silo through wires of the test's.</summary>
internal sealed class Wires : IAsyncDisposable
{
    private readonly Dictionary<string, (int Port, Proxy Wire)> _trainers = [];

    /// <summary>Lays them.</summary>
    /// <param name="workshop">Has the images.</param>
    /// <param name="about">What the run is for.</param>
    /// <param name="trainers">Trainers <c>trainer-0</c> and on.</param>
    /// <param name="wire">A wire to a port.</param>
    /// <param name="with">More options of a trainer, by its name.</param>
    public Wires(Workshop workshop, string about, int trainers, Func<int, Proxy> wire, Func<string, string>? with = null)
    {
        Cluster = new Cluster(workshop, about)
        {
            With = name => $"--port {_trainers[name].Port} --advertise 127.0.0.1:{_trainers[name].Wire.Port} {with?.Invoke(name)}",
            SiloFor = _ => $"http://127.0.0.1:{ToSilo!.Port}",
        };
        ToSilo = wire(Cluster.Port);
        for (var i = 0; i < trainers; i++)
        {
            var port = Cluster.FreePort();
            _trainers[$"trainer-{i}"] = (port, wire(port));
        }
    }

    public Cluster Cluster { get; }

    /// <summary>All trainers reach the silo through it.</summary>
    public Proxy ToSilo { get; }

    /// <summary>Those to the trainers.</summary>
    public IEnumerable<Proxy> ToTrainers => _trainers.Values.Select(trainer => trainer.Wire);

    /// <summary>The wire to a trainer.</summary>
    public Proxy To(string name) => _trainers[name].Wire;

    /// <summary>The wire to a rank: those above it call it.</summary>
    public Proxy To(RunStatus status, int rank) => To(status.Members.Single(member => member.Rank == rank).Name);

    public async ValueTask DisposeAsync()
    {
        await Cluster.DisposeAsync();
        await ToSilo.DisposeAsync();
        foreach (var wire in ToTrainers)
            await wire.DisposeAsync();
    }
}
