namespace DarkMatter.Grains;

// What silos report, and what they are told.
public sealed partial class RosterGrain
{
    private async Task TakeIn(SiloReport report)
    {
        foreach (var news in report.Members)
        {
            _members = _members.Hear(Now, news);
        }

        var heard = report.Members
            .Where(news => news.Generation == _members.Generation)
            .Select(news => (News: news, Member: _members.All.FirstOrDefault(m => m.Session == news.Session && m.Seated)))
            .Where(pair => pair.Member is not null)
            .ToArray();
        foreach (var (news, member) in heard)
        {
            await TakeIn(news, member!.Rank);
        }

        foreach (var news in report.Members.Where(news => !news.Lineage.IsEmpty && _members.Knows(news)))
        {
            _run = await Run.Prove(news.Lineage);
            _progress = _progress with { Step = Math.Max(_progress.Step, _run.Progress.Step) };
        }

        // Checkpoints are noted by others than the roster. It asks where they count: at the end, and before trainers go that hold what none has.
        if (_members.State != RunState.Training || _members.Saving || _members.Seated.Any(m => m.Presence == Presence.Completed))
        {
            Take((await Run.Get())!);
        }

        foreach (string change in _times.Changes())
        {
            _progress = _progress with { Notice = change };
        }

        _progress = Progress();
        await Run.Report(_progress);
    }

    private void Take(RunView run)
    {
        _run = run;
        _members = _members with
        {
            SavedStep = run.Checkpoint?.Step ?? 0,
            Reached = run.Progress.Step,
            TotalSteps = run.TotalSteps,
            FinalCheckpoint = run.TotalSteps > 0 && run.Checkpoint?.Step >= run.TotalSteps && _members.Seated.Any(m => m.Presence == Presence.Completed),
        };
    }

    private async Task TakeIn(MemberReport news, int rank)
    {
        if (rank == 0 && news.Beginning is { } beginning && beginning.Generation == _members.Generation && !_members.Began)
        {
            _run = await Run.Began(beginning);
            _members = _members.Begin(beginning.StartStep);
            _progress = _run.Progress with { Notice = _progress.Notice };
        }

        if (rank == 0 && news.PlannedSteps > 0 && news.PlannedSteps != _plannedSteps)
        {
            Take(await Run.PlanSteps(_members.Generation, news.PlannedSteps));
            _plannedSteps = news.PlannedSteps;
        }

        if (rank == 0)
        {
            bool further = news.DigestStep > _progress.DigestStep;
            _progress = _progress with
            {
                Loss = news.Loss,
                ImagesPerSecond = news.ImagesPerSecond,
                EmbeddingStd = news.EmbeddingStd,
                Health = news.Health.Length > 0 ? news.Health : _progress.Health,
                DigestStep = further ? news.DigestStep : _progress.DigestStep,
                SamplesDigest = further ? news.SamplesDigest : _progress.SamplesDigest,
            };
        }

        _times.Add(news.Name, news.Step, news.ComputeSeconds);
        foreach (var hash in news.Hashes)
        {
            if (_hashes!.Add(rank, hash) is { } difference && _members.Divergence.Length == 0)
            {
                _members = _members with { Divergence = difference };
            }
        }
    }

    private RunProgress Progress() => _progress with
    {
        Generation = _members.Generation,
        Step = _members.CommittedStep ?? _progress.Step,
        Members = [.. _members.All.OrderBy(m => m.Seated ? m.Rank : int.MaxValue).ThenBy(m => m.Name, StringComparer.Ordinal).Select(View)],
    };

    private MemberView View(RosterMember m) => new()
    {
        Name = m.Name,
        Rank = m.Rank,
        Address = m.Address,
        Step = m.Seated ? Math.Max(m.Step, _members.StartStep) : m.Step,
        ProcessId = m.ProcessId,
        Alive = m.Presence == Presence.Connected,
        Spare = !m.Seated,
        Slow = _times.IsSlow(m.Name),
        ComputeSeconds = _times.Last(m.Name),
    };

    private RosterView View(SiloReport report) => new()
    {
        Generation = _members.Generation,
        State = _run!.State,
        Reason = _members.StopRequestedAt is not null && Live ? _members.StopReason : _run.Reason,
        Seating = _run.State == RunState.Training && _seating is not null && report.KnownGeneration < _seating.Generation ? _seating : null,
        StopRequested = _members.StopRequestedAt is not null && _members is { State: RunState.Training, Saving: false },
        HoldAtOnce = _holdAtOnce,
        HoldWithCheckpoint = _run.State == RunState.Paused,
        Released = [.. _members.Released(Now, _options).Select(m => m.Session)],
        Strangers = [.. report.Members.Where(news => news.Presence == Presence.Connected && !_members.Knows(news)).Select(news => news.Session)],
        Brief = Brief,
    };
}
