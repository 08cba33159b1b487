using System.Collections.Immutable;

namespace DarkMatter.Grains;

/// <summary>What is to be done.</summary>
/// <param name="State">The run's next state; the present one when nothing is to change.</param>
/// <param name="Reason">Why, for people; empty when nothing is to change.</param>
/// <param name="Next">The next generation's members in rank order, when one is to begin.</param>
public sealed record RosterDecision(RunState State, string Reason, ImmutableArray<RosterMember> Next)
{
    /// <summary>A generation is to begin.</summary>
    public bool Begins => !Next.IsEmpty;

    /// <summary>The generation before is broken: its members leave it now, not at their next step boundary.</summary>
    public bool AtOnce { get; init; }

    /// <summary>The generation that begins takes a checkpoint and trains nothing.</summary>
    public bool Saving { get; init; }

    /// <summary>Members that belong to the run no more.</summary>
    public ImmutableArray<RosterMember> Lost { get; init; } = [];

    /// <summary>The member that gets no place for a while; null for none.</summary>
    public RosterMember? Benched { get; init; }

    /// <summary>The same trainers begin again, though one of them may be at fault.</summary>
    public bool Again { get; init; }

    /// <summary>Who was accused, when the same trainers begin again; empty when it is not known.</summary>
    public string Suspect { get; init; } = "";

    /// <summary>What a person should know of it; empty for nothing.</summary>
    public string Notice { get; init; } = "";
}
