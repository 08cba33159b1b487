using System.Collections.Immutable;
using static DarkMatter.Grains.Tests.Members;

namespace DarkMatter.Grains.Tests;

/// <summary>Random histories of a roster: what must hold after each event does, and a run that is left in peace trains in the end.</summary>
public sealed class RosterHistoryTests
{
    private const int Histories = 150;
    private const int Events = 250;

    private static readonly RosterOptions s_options = new() { FruitlessGenerations = int.MaxValue };

    [Fact]
    public void RandomHistories_KeepTheInvariants_AndRecover()
    {
        for (int seed = 0; seed < Histories; seed++)
        {
            var history = new History(seed);
            for (int i = 0; i < Events; i++)
            {
                history.Event();
            }

            history.Settle();
        }
    }

    private sealed class History
    {
        private readonly Random _random;
        private readonly int _seed;
        private readonly HashSet<long> _numbers = [];
        private readonly List<string> _transcript = [];
        private RosterMembers _members;
        private TimeSpan _now = S(1000);
        private int _incarnations;

        public History(int seed)
        {
            _seed = seed;
            _random = new Random(seed);
            int min = _random.Next(1, 4);
            int world = _random.Next(min, 6);
            _members = new RosterMembers { World = world, MinWorld = min, MaxWorld = _random.Next(world, 9), OpenedAt = _now };
        }

        public void Event()
        {
            _now += TimeSpan.FromMilliseconds(_random.Next(0, 400));
            var beats = _members.All.Where(m => m.Presence == Presence.Connected && _random.Next(20) > 0);
            foreach (var member in beats.ToArray())
            {
                Say(member, r => r);
            }

            var any = _members.All.IsEmpty ? null : _members.All[_random.Next(_members.All.Length)];
            switch (_random.Next(13))
            {
                case 0 or 1 or 2: Join($"trainer-{_random.Next(8)}"); break;
                case 3: Say(any, r => r with { Presence = Presence.Broken }); break;
                case 4: Say(any, r => r with { Presence = _random.Next(2) == 0 ? Presence.Failed : Presence.Left }); break;
                case 5: Say(any, r => r with { Accuses = new Accusation { Rank = _random.Next(-1, 5), Reason = "r", StateDiffers = _random.Next(3) == 0 } }); break;
                case 6 when _random.Next(4) == 0: Say(any, r => r with { Draining = true }); break;
                case 7: _members = _members with { PauseReason = _random.Next(4) == 0 ? "Paused." : null }; break;
                case 8: _now += TimeSpan.FromSeconds(_random.Next(1, 30)); break;
                case 9 or 10 when _members.State == RunState.Training && !_members.Began: _members = _members.Begin(_members.StartStep); break;
                default: Say(any, r => r with { Step = r.Step + 1 }); break;
            }

            Decide();
        }

        /// <summary>Everybody that is left is well, and enough come: then the run trains, and nothing changes any more.</summary>
        public void Settle()
        {
            _members = _members with { PauseReason = null };
            for (int i = 0; i < 40; i++)
            {
                _now += S(10);
                _members = _members with { Began = _members.State == RunState.Training };
                foreach (var member in _members.All.Where(m => m.Draining))
                {
                    Say(member, r => r with { Presence = Presence.Left });
                }

                for (int t = 0; t < 8; t++)
                {
                    if (_members.All.FirstOrDefault(m => m.Name == $"trainer-{t}") is { Presence: Presence.Connected } there)
                    {
                        Say(there, r => r);
                    }
                    else
                    {
                        Join($"trainer-{t}");
                    }
                }

                Decide();
            }

            long last = _members.Generation;
            Decide();
            Check(_members.State == RunState.Training, "it does not train");
            Check(_members.Generation == last, "it does not come to rest");
            Check(_members.Seated.Count() == Math.Min(8, _members.MaxWorld), $"only {_members.Seated.Count()} have a place");
        }

        private void Decide()
        {
            var before = _members;
            var decision = Roster.Decide(_now, before, s_options);
            _members = before.After(_now, decision, s_options);
            if (decision.Reason.Length > 0)
            {
                _transcript.Add($"{_now.TotalSeconds:0.0} {decision.State}: {decision.Reason}");
            }

            Check(Roster.Decide(_now, before, s_options).Reason == decision.Reason, "the same members give another decision");
            Check(_members.All.Select(m => m.Name).Distinct(StringComparer.Ordinal).Count() == _members.All.Length, "two members have one name");
            Check(decision.State == before.State || decision.Reason.Length > 0, "a change without a reason");
            if (!decision.Begins)
            {
                Check(_members.Generation == before.Generation, "the number changed without a generation");
                return;
            }

            Check(_numbers.Add(_members.Generation) && _members.Generation == before.Generation + 1, "a number is used twice, or left out");
            var seated = _members.Seated.ToImmutableArray();
            Check(seated.Select(m => m.Rank).SequenceEqual(Enumerable.Range(0, seated.Length)), "the ranks are not 0, 1, 2, …");
            Check(seated.Length >= before.MinWorld && seated.Length <= before.MaxWorld, $"a world of {seated.Length}");
            Check(
                seated.SelectMany(m => LaneShare.Of(m.Rank, seated.Length, 8)).SequenceEqual(Enumerable.Range(0, 8)), "the lanes are not dealt out once each");
            Check(seated.All(m => m.Presence == Presence.Connected && m.Prepared && !m.Draining && !m.IsSilent(_now, s_options)), "one that cannot train has a place");
            Check(
                seated.All(m => !_members.IsBenched(m, _now) || (seated.Length == before.MinWorld && _now >= _members.Benches[m.Name].Since(s_options) + s_options.BenchTime)),
                "one that is benched has a place, though it is not needed");
            Check(before.PauseReason is null, "it begins while it is paused");
            Check(!decision.Lost.Any(lost => seated.Any(lost.Is)), "one that is lost has a place");
            Check(
                decision.AtOnce || before.State != RunState.Training || before.Seated.All(m => !m.IsLost(_now, s_options)),
                "a broken generation is to come to a step boundary");
        }

        private void Join(string name)
        {
            var join = new JoinRequest { Name = name, Incarnation = $"i{++_incarnations}", Session = $"s{_incarnations}", Address = "http://x" };
            if (Admission.Refuse("demo", _now, _members, join, "", s_options) is null)
            {
                _members = _members.Admit(_now, join);
                Say(_members.All[^1], r => r with { Prepared = true });
            }
        }

        private void Say(RosterMember? member, Func<MemberReport, MemberReport> what)
        {
            if (member is { Presence: Presence.Connected })
            {
                _members = _members.Hear(_now, what(new MemberReport
                {
                    Name = member.Name,
                    Incarnation = member.Incarnation,
                    Session = member.Session,
                    Generation = member.Seated ? _members.Generation : 0,
                    Step = member.Step,
                    Accuses = member.Accuses,
                    Prepared = member.Prepared,
                }));
            }
        }

        private void Check(bool holds, string otherwise) =>
            holds.ShouldBeTrue($"seed {_seed}: {otherwise}\n{string.Join('\n', _transcript.TakeLast(12))}\n{string.Join('\n', _members.All)}");
    }
}
