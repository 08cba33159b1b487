using System.Diagnostics;

namespace DarkMatter.Faults;

/// <summary>
/// Machines on one wire: a network namespace for each trainer, connected by a veth pair to a bridge where the silo listens. A cut drops packets
/// without a word, as a broken switch does.
/// </summary>
internal sealed class Namespaces : IDisposable
{
    private static int s_networks;

    private readonly string _prefix;
    private readonly string _subnet;
    private readonly Dictionary<string, (string Prefix, string Address)> _machines = [];

    private Namespaces()
    {
        var number = Interlocked.Increment(ref s_networks);
        _prefix = $"dm{Environment.ProcessId % 10_000}x{number}";
        _subnet = $"10.{Environment.ProcessId % 200}.{number}";
    }

    /// <summary>Where the silo is reached.</summary>
    public string SiloAddress => _subnet + ".1";

    /// <summary>A network of machines; null, with the reason, where the kernel does not allow one.</summary>
    public static (Namespaces? Network, string Reason) Create(params string[] machines)
    {
        var network = new Namespaces();
        try
        {
            network.Ip($"link add {network._prefix} type bridge");
            network.Ip($"addr add {network.SiloAddress}/24 dev {network._prefix}");
            network.Ip($"link set {network._prefix} up");
            foreach (var machine in machines)
                network.Add(machine);
            return (network, "");
        }
        catch (Exception e) when (e is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            network.Dispose();
            return (null, $"network namespaces cannot be made here: {e.Message}");
        }
    }

    /// <summary>What to write before a command to run it there, and the machine's address.</summary>
    public (string Prefix, string Address) Machine(string name) => _machines[name];

    /// <summary>Drops everything between two machines, in both directions.</summary>
    public void Cut(string a, string b)
    {
        Route("add", a, _machines[b].Address);
        Route("add", b, _machines[a].Address);
    }

    /// <summary>Undoes <see cref="Cut"/>.</summary>
    public void Mend(string a, string b)
    {
        Route("del", a, _machines[b].Address);
        Route("del", b, _machines[a].Address);
    }

    /// <summary>Drops everything between a machine and the silo.</summary>
    public void CutFromSilo(string name) => Route("add", name, SiloAddress);

    /// <summary>Undoes <see cref="CutFromSilo"/>.</summary>
    public void MendToSilo(string name) => Route("del", name, SiloAddress);

    public void Dispose()
    {
        foreach (var name in _machines.Keys)
            Try($"netns del {_prefix}{name}");
        Try($"link del {_prefix}");
    }

    private void Add(string name)
    {
        var (space, number) = (_prefix + name, _machines.Count + 2);
        Ip($"netns add {space}");
        _machines[name] = ($"ip netns exec {space} ", $"{_subnet}.{number}");
        Ip($"link add {_prefix}v{number} type veth peer name eth0 netns {space}");
        Ip($"link set {_prefix}v{number} master {_prefix} up");
        Ip($"-n {space} addr add {_subnet}.{number}/24 dev eth0");
        Ip($"-n {space} link set eth0 up");
        Ip($"-n {space} link set lo up");
    }

    private void Route(string verb, string name, string address) => Ip($"-n {_prefix}{name} route {verb} blackhole {address}/32");

    private void Try(string arguments)
    {
        try
        {
            Ip(arguments);
        }
        catch (Exception e) when (e is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            // It was never made, or is gone with its namespace.
        }
    }

    private void Ip(string arguments)
    {
        using var ip = Process.Start(new ProcessStartInfo("ip", arguments) { RedirectStandardError = true })!;
        var error = ip.StandardError.ReadToEnd();
        if (!ip.WaitForExit(TimeSpan.FromSeconds(30)) || ip.ExitCode != 0)
            throw new InvalidOperationException($"'ip {arguments}' failed: {error.Trim()}");
    }
}
