namespace DarkMatter.Simulation;

/// <summary>The blob store of checkpoints: parts, and manifests that appear by one conditional write.</summary>
internal sealed class Blobs(World world)
{
    private readonly Dictionary<string, bool> _parts = []; // by path: whether it is tainted
    private readonly HashSet<string> _damaged = [];
    private readonly Dictionary<string, (Memory State, IReadOnlyList<string> Parts)> _manifests = [];

    /// <summary>Every write and read fails.</summary>
    public bool Down { get; set; }

    /// <summary>Calls back on the node whether the part is stored.</summary>
    public void PutPart(Node from, string path, bool tainted, Action<bool> then) => Later(from, () => _parts[path] = tainted, then);

    /// <summary>Writes a manifest, unless there is one of the same step and the same or a newer generation.</summary>
    public void PutManifest(Node from, string path, Memory state, IReadOnlyList<string> parts, Action<bool> then) => Later(from, () =>
    {
        if (_manifests.TryGetValue(path, out var there) && there.State.Generation >= state.Generation)
            return;
        _manifests[path] = (state, parts);
        _damaged.Remove(path);
    }, then);

    /// <summary>A manifest whose parts are all there and sound; null for none.</summary>
    public Memory? Load(string path) => !Down && IsWhole(path) ? _manifests[path].State with { Tainted = TaintedParts(path) > 0 } : null;

    /// <summary>Parts of a visible checkpoint that were written by machines that had computed wrongly.</summary>
    public int TaintedParts(string path) => _manifests[path].Parts.Count(part => _parts.GetValueOrDefault(part));

    public int Parts(string path) => _manifests[path].Parts.Count;

    public bool IsWhole(string path) => _manifests.TryGetValue(path, out var manifest) && manifest.Parts.All(_parts.ContainsKey);

    /// <summary>Whole checkpoints, newest first.</summary>
    public IEnumerable<string> Whole => _manifests.Where(m => IsWhole(m.Key)).OrderByDescending(m => (m.Value.State.Generation, m.Value.State.Step)).Select(m => m.Key);

    /// <summary>Flips a bit in a part of a checkpoint.</summary>
    public void Damage(string path)
    {
        if (!_manifests.TryGetValue(path, out var manifest))
            return;
        _parts.Remove(manifest.Parts[world.Random.Next(manifest.Parts.Count)]);
        _damaged.Add(path);
    }

    public bool IsDamaged(string path) => _damaged.Contains(path);

    private void Later(Node from, Action write, Action<bool> then)
    {
        var took = TimeSpan.FromMilliseconds(world.Random.Next(5, 400));
        world.Clock.After(took, () =>
        {
            // A killed process may have written before: the store does not know it is gone.
            bool written = !Down && (from.Alive || world.Random.Next(2) == 0);
            if (written)
                write();
            from.Do(() => then(written));
        });
    }
}
