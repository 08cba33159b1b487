using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Banks;

/// <summary>
/// Takes what banks write to others that want to know: the silo, and through it other runs and readers. Training needs nothing back, so calls come from
/// the training thread and return at once.
/// </summary>
public interface IBankFeed
{
    /// <summary>All ranks hold the same state and the first step of a generation is about to be made.</summary>
    /// <param name="options">This rank's lanes.</param>
    /// <param name="state">The generation and its banks.</param>
    /// <param name="healed">This rank copied its state from others: what it wrote before is not part of it.</param>
    void Began(TrainOptions options, TrainState state, bool healed);

    /// <summary>An update was applied.</summary>
    void Stepped(TrainState state);

    /// <summary>The generation is over for this rank: once this returns, nobody reads its banks any more.</summary>
    void Ended();
}
