using Orleans.Runtime;

namespace DarkMatter.Grains;

internal static class PersistentStateExtensions
{
    /// <summary>Stores another value. What is in memory changes only once the stored one has.</summary>
    public static async Task Replace<T>(this IPersistentState<T> stored, T next)
    {
        var before = stored.State;
        stored.State = next;
        try
        {
            await stored.WriteStateAsync();
        }
        catch
        {
            stored.State = before;
            throw;
        }
    }
}
