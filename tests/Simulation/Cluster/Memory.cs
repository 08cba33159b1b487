using System.Collections.Immutable;
using DarkMatter.Grains;

namespace DarkMatter.Simulation;

/// <summary>
/// A trainer's state of the run. The hash names one lineage: equal hashes come from the same steps in the same generations. <c>Used</c> is the
/// truth that no process can see: the digest of every image that ever went into this state.
/// </summary>
/// <param name="Generation">The newest generation that began with it; 0 for none.</param>
/// <param name="Step">Updates applied.</param>
/// <param name="Hash">Of everything in it.</param>
/// <param name="Lineage">Which generations made its steps, of which images.</param>
/// <param name="Used">Of all images used since the run's first step.</param>
/// <param name="Holds">It counts: it is no half-copied state.</param>
/// <param name="Tainted">A machine computed wrongly somewhere on its way: no process can know, but its hash is another one.</param>
internal readonly record struct Memory(
    long Generation, long Step, ulong Hash, ImmutableArray<LineageSegment> Lineage, ulong Used, bool Holds, bool Tainted = false)
{
    public static Memory None => new(0, -1, 0, [], 0, Holds: false);

    public static Memory Fresh => new(0, 0, 0x5EED, [], 0, Holds: true);

    /// <summary>After a step in a generation.</summary>
    public Memory Apply(long generation, ulong images) =>
        this with { Step = Step + 1, Hash = Mix(Hash, (ulong)Step, (ulong)generation, images), Lineage = Grown(images), Used = Used + images };

    /// <summary>With a flipped bit.</summary>
    public Memory Taint(ulong bit) => this with { Hash = Mix(Hash, bit), Tainted = true };

    /// <summary>Of the images used since <see cref="Generation"/> began.</summary>
    public ulong Digest => Lineage[^1].SamplesDigest;

    /// <summary>A generation begins with it.</summary>
    public Memory Begin(long generation) => this with
    {
        Generation = generation,
        Lineage = [.. Lineage.Where(segment => segment.EndStep > segment.StartStep), new LineageSegment(generation, Step, Step, 0)],
        Holds = true,
    };

    private ImmutableArray<LineageSegment> Grown(ulong images) =>
        Lineage.SetItem(Lineage.Length - 1, Lineage[^1] with { EndStep = Step + 1, SamplesDigest = Lineage[^1].SamplesDigest + images });

    private static ulong Mix(params ReadOnlySpan<ulong> words)
    {
        ulong hash = 14695981039346656037;
        foreach (ulong word in words)
        {
            hash = (hash ^ word) * 1099511628211;
            hash ^= hash >> 29;
        }

        return hash;
    }
}
