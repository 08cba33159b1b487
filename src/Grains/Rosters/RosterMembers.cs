using System.Collections.Immutable;

namespace DarkMatter.Grains;

/// <summary>
/// Everything a decision looks at besides the time and the options, as an immutable snapshot. It changes by a trainer that joins
/// (<see cref="Admit"/>), by what a trainer says (<see cref="Hear"/>), and by a decision (<see cref="After"/>).
/// </summary>
public sealed record RosterMembers
{
    /// <summary>Reasons of fruitless generations that are remembered.</summary>
    private const int MaxTroubles = 3;

    /// <summary>Trainers wanted.</summary>
    public required int World { get; init; }

    /// <summary>Below this many trainers the run waits.</summary>
    public int MinWorld { get; init; } = 1;

    /// <summary>Steps of the run; 0 while unknown.</summary>
    public long TotalSteps { get; init; }

    /// <summary>Below this many trainers the run waits now: where all steps are made, whoever is there can finish it.</summary>
    public int LeastWorld => TotalSteps > 0 && All.Any(m => StepIn(m) >= TotalSteps) ? 1 : MinWorld;

    /// <summary>More trainers than this wait as spares.</summary>
    public int MaxWorld { get; init; } = int.MaxValue;

    /// <summary>Waiting, Training or Paused; another once the run is over.</summary>
    public RunState State { get; init; } = RunState.Waiting;

    /// <summary>Newest generation that was formed; 0 for none.</summary>
    public long Generation { get; init; }

    /// <summary>One was formed since the run was created or resumed: the wanted world is waited for no longer.</summary>
    public bool Formed { get; init; }

    /// <summary>When the newest was, or when one of its members last made progress with preparing it.</summary>
    public TimeSpan FormedAt { get; init; }

    /// <summary>The newest generation's ranks agreed on a state.</summary>
    public bool Began { get; init; }

    /// <summary>Updates applied in that state.</summary>
    public long StartStep { get; init; }

    /// <summary>When waiting began.</summary>
    public TimeSpan OpenedAt { get; init; }

    /// <summary>When somebody asked it to stop; null when nobody did.</summary>
    public TimeSpan? StopRequestedAt { get; init; }

    /// <summary>Why it is to stop.</summary>
    public string StopReason { get; init; } = "";

    /// <summary>Why it is to pause; null when it is not.</summary>
    public string? PauseReason { get; init; }

    /// <summary>Steps in the newest published checkpoint; 0 for none.</summary>
    public long SavedStep { get; init; }

    /// <summary>The newest generation trains nothing: it only takes a checkpoint of what its members hold.</summary>
    public bool Saving { get; init; }

    /// <summary>It was paused in good order: the newest generation's members take a checkpoint as they leave it, unless one of them is lost.</summary>
    public bool Pausing { get; init; }

    /// <summary>Steps that the run has made, as its ledger knows: what no checkpoint has of them is in the memory of trainers.</summary>
    public long Reached { get; init; }

    /// <summary>The checkpoint of the last step is published: who is lost now is not missed.</summary>
    public bool FinalCheckpoint { get; init; }

    /// <summary>A difference between ranks that the state hashes show; empty for none.</summary>
    public string Divergence { get; init; } = "";

    /// <summary>Restarts with the same trainers since a step was last applied.</summary>
    public int SameAgain { get; init; }

    /// <summary>The member that was accused in them; empty when none was.</summary>
    public string Suspect { get; init; } = "";

    /// <summary>Broken generations in a row in which no step was applied.</summary>
    public int Fruitless { get; init; }

    /// <summary>After them no generation is formed before this moment.</summary>
    public TimeSpan NotBefore { get; init; }

    /// <summary>Why they broke, newest last; a few.</summary>
    public ImmutableList<string> Troubles { get; init; } = [];

    /// <summary>By name: until when a trainer gets no place, and how often that was so.</summary>
    public ImmutableDictionary<string, Bench> Benches { get; init; } = ImmutableDictionary<string, Bench>.Empty;

    /// <summary>Members whose names others have taken before their loss was dealt with.</summary>
    public ImmutableArray<RosterMember> Replaced { get; init; } = [];

    /// <summary>The trainers.</summary>
    public ImmutableArray<RosterMember> All { get; init; } = [];

    /// <summary>Those with a place in the newest generation, in rank order.</summary>
    public IEnumerable<RosterMember> Seated => All.Where(m => m.Seated).OrderBy(m => m.Rank);

    /// <summary>Some rank applied a step in the newest generation.</summary>
    public bool Progressed => Began && All.Any(m => m.Seated && m.Step > StartStep);

    /// <summary>Steps that every rank of the newest generation applied; null before it began or when none of them is left.</summary>
    public long? CommittedStep => Began && Seated.Any() ? Math.Max(StartStep, Seated.Min(m => m.Step)) : null;

    /// <summary>Members whose memory has steps that no checkpoint has.</summary>
    public IEnumerable<RosterMember> Holders => All.Where(m => m.Presence is Presence.Connected or Presence.Away && StepIn(m) > SavedStep);

    /// <summary>Steps that no checkpoint has are about to go with the last members that hold them; who is silent keeps nothing safe.</summary>
    public bool Endangered(TimeSpan now, RosterOptions options) => (State == RunState.Waiting || (State == RunState.Paused && !TakesPauseCheckpoint))
        && All.Where(m => m.SavesFirst).Select(StepIn).Append(-1).Max()
            > All.Where(m => !m.Draining && !m.IsLost(now, options)).Select(StepIn).Append(SavedStep).Max();

    /// <summary>Draining members without whom the others go on, or wait.</summary>
    public IEnumerable<RosterMember> Released(TimeSpan now, RosterOptions options)
    {
        bool endangered = Endangered(now, options);
        return All.Where(m => m.Draining && !(m.Seated && State == RunState.Training) && !(endangered && m.SavesFirst && StepIn(m) > SavedStep));
    }

    /// <summary>Whether a trainer gets no place now.</summary>
    public bool IsBenched(RosterMember member, TimeSpan now) => Benches.TryGetValue(member.Name, out var bench) && now < bench.Until;

    /// <summary>The member with a trainer that may join; it keeps the place it has. See <see cref="Admission.Refuse"/>.</summary>
    public RosterMembers Admit(TimeSpan now, JoinRequest join)
    {
        var before = All.FirstOrDefault(m => m.Name == join.Name);
        bool keeps = before is not null && before.Seated && before.Incarnation == join.Incarnation && join.Generation > 0;
        var member = keeps
            ? before! with { Presence = Presence.Connected, Reason = "", Step = join.Generation == Generation ? Math.Max(before.Step, join.LastStep) : before.Step }
            : new RosterMember { Name = join.Name, Incarnation = join.Incarnation, Step = Math.Max(0, join.LastStep) };
        member = member with { Session = join.Session, Address = join.Address, ProcessId = join.ProcessId, LastHeard = now, Held = join.LastStep };
        bool vacates = before is { Seated: true } && !keeps && State == RunState.Training;
        return this with
        {
            All = [.. All.Where(m => m.Name != join.Name), member],
            Replaced = vacates ? Replaced.Add(before! with { Presence = Presence.Broken }) : Replaced,
        };
    }

    /// <summary>The members with what one trainer said. A stranger, an earlier incarnation and an earlier stream are not heard.</summary>
    public RosterMembers Hear(TimeSpan now, MemberReport news)
    {
        if (Find(news) is not { } before)
        {
            return this;
        }

        bool ofNow = news.Generation == Generation;
        bool accusesFirst = ofNow && before.Seated && before.Accuses is null && news.Accuses is not null;
        var after = before with
        {
            Session = news.Session,
            Presence = news.Presence,
            Reason = news.Reason,
            RunFailed = news.RunFailed,
            LastHeard = now - news.SilentFor,
            Prepared = before.Prepared || news.Prepared,
            PreparedAt = !before.Prepared && news.Prepared ? now : before.PreparedAt,
            Draining = before.Draining || news.Draining,
            SavesFirst = before.SavesFirst || (news.Draining && !before.Draining && State != RunState.Training),
            Step = ofNow || !before.Seated ? Math.Max(before.Step, news.Step) : before.Step,
            Held = news.Held,
            Progress = news.Progress,
            Accuses = accusesFirst ? news.Accuses : before.Accuses,
            AccusedAt = accusesFirst ? now : before.AccusedAt,
        };
        bool prepares = ofNow && before.Seated && !Began && news.Progress > before.Progress;
        return this with { All = All.Replace(before, after), FormedAt = prepares ? now : FormedAt };
    }

    /// <summary>The members once the newest generation's ranks agreed on a state.</summary>
    public RosterMembers Begin(long startStep) => this with { Began = true, StartStep = startStep };

    /// <summary>Whether a report's session is a member's.</summary>
    public bool Knows(MemberReport news) => Find(news) is not null;

    /// <summary>The members once a decision was carried out.</summary>
    public RosterMembers After(TimeSpan now, RosterDecision decision, RosterOptions options)
    {
        var kept = All.RemoveAll(m => decision.Lost.Any(m.Is));
        if (!decision.Begins && decision.State == State)
        {
            return this with { All = kept, Pausing = Pausing && !decision.Lost.Any(m => m.Seated && m.Presence != Presence.Left) };
        }

        bool broke = State == RunState.Training && decision.AtOnce && !Progressed;
        var next = this with
        {
            State = decision.State,
            Divergence = "",
            Replaced = [],
            SameAgain = (Progressed ? 0 : SameAgain) + (decision.Again ? 1 : 0),
            Suspect = decision.Suspect.Length > 0 || Progressed ? decision.Suspect : Suspect,
            Fruitless = Progressed ? 0 : Fruitless + (broke ? 1 : 0),
            NotBefore = broke ? now + options.PauseAfter(Fruitless + 1) : NotBefore,
            Saving = decision.Saving,
            Pausing = decision.State == RunState.Paused && State == RunState.Training && !Saving && !decision.AtOnce,
            Troubles = Progressed ? [] : broke ? Troubles.Add(decision.Reason).RemoveRange(0, Math.Max(0, Troubles.Count + 1 - MaxTroubles)) : Troubles,
            Benches = Bench.With(Benches, decision.Benched, now, options),
            All = [.. kept.Select(m => m with { Accuses = null, SavesFirst = m.SavesFirst || (m.Draining && decision.AtOnce) })],
        };
        return decision.Begins ? next.Form(now, decision.Next) : next;
    }

    private RosterMembers Form(TimeSpan now, ImmutableArray<RosterMember> seats) => this with
    {
        Generation = Generation + 1,
        Formed = true,
        FormedAt = now,
        Began = false,
        All =
        [
            .. seats.Select(m => m with { Prepared = true, Accuses = null, Step = 0 }),
            .. All.Where(m => !seats.Any(m.Is)).Select(m => m with { Rank = -1 }),
        ],
    };

    // It will not come about once one of them could not go on.
    private bool TakesPauseCheckpoint => Pausing && !All.Any(m => m.Seated && m.Accuses is not null);

    // What a member of the newest generation reported of its steps may be newer than what it last said of its memory.
    private long StepIn(RosterMember m) => m.Held < 0 ? -1 : Math.Max(m.Held, m.Seated && Began ? m.Step : -1);

    // One that is away is heard again from any stream of its process, for its place is its own.
    private RosterMember? Find(MemberReport news) => All.FirstOrDefault(
        m => m.Name == news.Name && m.Incarnation == news.Incarnation
            && (m.Session == news.Session || (m.Presence == Presence.Away && news.Generation == Generation)));
}

/// <summary>A trainer gets no place for a while, because others could not reach it.</summary>
/// <param name="Until">From then on it may come back.</param>
/// <param name="Times">How often it was so, this time included.</param>
public sealed record Bench(TimeSpan Until, int Times)
{
    /// <summary>Since when it has no place.</summary>
    public TimeSpan Since(RosterOptions options) => Until - Time(Times, options);

    /// <summary>The benches with one more, for twice as long as the last time; those of long ago are forgotten.</summary>
    public static ImmutableDictionary<string, Bench> With(
        ImmutableDictionary<string, Bench> benches, RosterMember? member, TimeSpan now, RosterOptions options)
    {
        var kept = benches.RemoveRange(benches.Where(b => now - b.Value.Until >= options.LongestBenchTime).Select(b => b.Key));
        if (member is null)
        {
            return kept;
        }

        int times = kept.TryGetValue(member.Name, out var last) ? last.Times + 1 : 1;
        return kept.SetItem(member.Name, new Bench(now + Time(times, options), times));
    }

    private static TimeSpan Time(int times, RosterOptions options) =>
        TimeSpan.FromSeconds(Math.Min(options.LongestBenchTime.TotalSeconds, options.BenchTime.TotalSeconds * Math.Pow(2, times - 1)));
}
