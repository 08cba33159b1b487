using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using Orleans;
using Orleans.Runtime;
using Orleans.Storage;

namespace DarkMatter.Silo;

/// <summary>
/// Grain states as files: <c>FOLDER/STATE/GRAINTYPE/KEY.json</c>, written so that a kill at any moment loses nothing acknowledged
/// (see <see cref="StateFile"/>). One process at a time owns the folder.
/// </summary>
public sealed class FileGrainStorage : IGrainStorage, IDisposable
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web)
    {
        IgnoreReadOnlyProperties = true,
        NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    private readonly string _folder;
    private readonly FileStream _lock;
    private readonly ConcurrentDictionary<string, SemaphoreSlim> _gates = new(StringComparer.Ordinal);

    /// <summary>Opens the folder, making it when it is missing.</summary>
    /// <exception cref="SiloStartException">Another silo uses the folder, or it cannot be written.</exception>
    public FileGrainStorage(string folder)
    {
        _folder = Path.GetFullPath(folder);
        try
        {
            Directory.CreateDirectory(_folder);
            _lock = new FileStream(Path.Combine(_folder, ".lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (UnauthorizedAccessException exception)
        {
            throw new SiloStartException($"The state folder {_folder} cannot be written. Choose another with --state DIR.", exception);
        }
        catch (IOException exception)
        {
            throw new SiloStartException(
                $"The state folder {_folder} is in use by another silo, or cannot be written ({exception.Message}). "
                + "Stop that silo, or choose another folder with --state DIR.",
                exception);
        }
    }

    /// <summary>Where a state is stored.</summary>
    public string PathOf(string stateName, GrainId grainId) => PathIn(_folder, stateName, grainId.Type.ToString()!, grainId.Key.ToString()!);

    /// <inheritdoc/>
    public Task ReadStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState) => Alone(
        PathOf(stateName, grainId),
        path =>
        {
            if (StateFile.Read(path) is not { } stored)
            {
                Reset(grainState);
                return;
            }

            grainState.State = Parse<T>(path, stored.Body);
            grainState.ETag = stored.ETag;
            grainState.RecordExists = true;
        });

    /// <inheritdoc/>
    public Task WriteStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        // On the grain's turn, so that the state cannot change meanwhile.
        byte[] body = JsonSerializer.SerializeToUtf8Bytes(grainState.State, s_json);
        return Alone(
            PathOf(stateName, grainId),
            path =>
            {
                string? stored = Check(path, stateName, grainId, grainState.ETag);
                string next = stored is null
                    ? "1"
                    : (long.Parse(stored, CultureInfo.InvariantCulture) + 1).ToString(CultureInfo.InvariantCulture);
                StateFile.Write(path, next, body);
                grainState.ETag = next;
                grainState.RecordExists = true;
            });
    }

    /// <inheritdoc/>
    public Task ClearStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState) => Alone(
        PathOf(stateName, grainId),
        path =>
        {
            Check(path, stateName, grainId, grainState.ETag);
            StateFile.Delete(path);
            Reset(grainState);
        });

    /// <inheritdoc/>
    public void Dispose()
    {
        _lock.Dispose();
        foreach (var gate in _gates.Values)
        {
            gate.Dispose();
        }
    }

    /// <summary>Where a state is stored in a folder.</summary>
    internal static string PathIn(string folder, string stateName, string grainType, string key) =>
        Path.Combine(folder, Safe(stateName), Safe(grainType), Safe(key) + ".json");

    /// <summary>A state as its file holds it, whoever owns the folder; the default when there is no file.</summary>
    /// <exception cref="InvalidDataException">The file is damaged, or holds something else.</exception>
    internal static T? Peek<T>(string path) => StateFile.Read(path) is { } stored ? Parse<T>(path, stored.Body) : default;

    private static T Parse<T>(string path, byte[] body)
    {
        try
        {
            return JsonSerializer.Deserialize<T>(body, s_json)!;
        }
        catch (JsonException exception)
        {
            throw new InvalidDataException($"{path} does not hold a {typeof(T).Name}: {exception.Message}", exception);
        }
    }

    private static string? Check(string path, string stateName, GrainId grainId, string? expected)
    {
        string? stored = StateFile.Read(path)?.ETag;
        return stored == expected
            ? stored
            : throw new InconsistentStateException(
                $"State '{stateName}' of {grainId} has ETag '{stored ?? "none"}' in {path}, but '{expected ?? "none"}' was expected: "
                + "another writer came first.",
                stored,
                expected);
    }

    private static void Reset<T>(IGrainState<T> grainState)
    {
        grainState.State = Activator.CreateInstance<T>();
        grainState.ETag = null;
        grainState.RecordExists = false;
    }

    /// <summary>A name as part of a path.</summary>
    internal static string Safe(string name) => Uri.EscapeDataString(name);

    // Disk work runs on the pool: a slow disk holds up the grain that waits, not the thread of its turn.
    private async Task Alone(string path, Action<string> work)
    {
        var gate = _gates.GetOrAdd(path, static _ => new SemaphoreSlim(1, 1));
        await gate.WaitAsync();
        try
        {
            await Task.Run(() => work(path));
        }
        finally
        {
            gate.Release();
        }
    }
}
