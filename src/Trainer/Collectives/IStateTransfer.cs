using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Collectives;

/// <summary>How ranks of a generation copy state from each other beside the collective calls: from several donors at once.</summary>
public interface IStateTransfer
{
    /// <summary>Lets the ranks of this generation read a state until the result is disposed; nothing may change it before that.</summary>
    IDisposable Offer(StateMemory memory);

    /// <summary>Copies a range of what a rank offers, checksummed, to the same place here. It waits a bounded time for the offer.</summary>
    /// <param name="donor">Whose.</param>
    /// <param name="offset">The first byte.</param>
    /// <param name="length">How many.</param>
    /// <param name="target">As long as the donor's.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="CollectiveAbortedException">The donor was lost, refused, or sent damaged bytes.</exception>
    Task FetchAsync(int donor, long offset, long length, StateMemory target, CancellationToken cancellationToken);
}
