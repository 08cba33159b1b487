using DarkMatter.Grains;

namespace DarkMatter.Simulation;

// Checkpoints: each rank stores its part, and who reports the last one writes the manifest and publishes.
internal sealed partial class TrainerNode
{
    private const int Attempts = 8;

    private void Save(Place place, Action<bool>? then = null)
    {
        var state = Memory;
        string path = World.CheckpointPath(state.Step);
        Try(Attempts, retry => World.Blobs.PutPart(this, PartOf(path, state, place.Rank), state.Tainted, retry), stored =>
        {
            if (!stored)
            {
                then?.Invoke(false);
                return;
            }

            // A lost answer is asked for again: reporting a part twice changes nothing.
            bool last = false;
            Ask((silo, answer) => silo.ReportPart(state.Generation, state.Step, place.Rank, place.World, complete =>
            {
                last = complete;
                answer(true);
            }), _ =>
            {
                if (last)
                    Publish(place, path, state, then);
                else
                    then?.Invoke(true);
            });
        });
    }

    private static string PartOf(string path, Memory state, int rank) => FormattableString.Invariant($"{path}/{state.Generation}/{rank}");

    private void Publish(Place place, string path, Memory state, Action<bool>? then)
    {
        var parts = Enumerable.Range(0, place.World).Select(rank => PartOf(path, state, rank)).ToArray();
        Try(Attempts, retry => World.Blobs.PutManifest(this, path, state, parts, retry), stored =>
        {
            if (!stored)
            {
                then?.Invoke(false);
                return;
            }

            var record = new CheckpointRecord { Step = state.Step, Generation = state.Generation, Path = path, ManifestSha256 = new string('a', 64) };
            Ask((silo, answer) => silo.Publish(record, answer), published => then?.Invoke(published));
        });
    }

    // Nobody goes before the last checkpoint is whole. Who cannot write it fails, and the others see that.
    private void SaveTogether(Place place, Action then)
    {
        Flush();
        Save(place, saved =>
        {
            if (_place != place)
                return;
            if (saved)
                Meet(place, "end", 0, SaveTimeout, _ => then());
            else
                Leave(completed: false, failed: true);
        });
    }

    // A unary call: it fails when the silo is away or the link is cut, and is tried again.
    private void Ask(Action<SiloNode, Action<bool>> call, Action<bool> then) => Try(Attempts, retry =>
    {
        if (World.Silo is not { } silo)
        {
            After(TimeSpan.FromMilliseconds(10), () => retry(false));
            return;
        }

        World.Network.Connect(this, silo, pipe =>
        {
            if (pipe is null)
            {
                retry(false);
                return;
            }

            bool answered = false;
            void Answer(bool result)
            {
                if (answered)
                    return;
                answered = true;
                pipe.Close(this, "done");
                retry(result);
            }

            pipe.OnClosed(this, _ => Answer(false));
            After(TimeSpan.FromSeconds(10), () => Answer(false));
            pipe.Send(this, () => call(silo, result => pipe.Send(silo, () => Answer(result))));
        });
    }, then);

    private void Try(int attempts, Action<Action<bool>> act, Action<bool> then) => act(done =>
    {
        if (done || attempts <= 1)
            then(done);
        else
            After(TimeSpan.FromMilliseconds(200 * (1 << (Attempts - attempts)) * (0.5 + World.Random.NextDouble())), () => Try(attempts - 1, act, then));
    });
}
