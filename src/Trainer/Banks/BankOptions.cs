using DarkMatter.Trainer.Methods;

namespace DarkMatter.Trainer.Banks;

/// <summary>How a method's memory of other images is kept: keys of section <c>method</c>, the same for every method that has a bank.</summary>
public sealed record BankOptions
{
    /// <summary>
    /// Key <c>bank_staleness</c>, s: a step sees the bank as it was s steps before the last, exactly and on every rank. Range 0 to 64, default 0: as of
    /// the last step.
    /// </summary>
    public int Staleness { get; init; }

    /// <summary>
    /// Key <c>bank_float16</c>: rows travel between ranks and are kept in float16, in half the bytes; a row of length 1 is off by at most
    /// 2⁻¹¹ of each element. A queue is converted whole in every step, and that copy lives until the step's backward pass is over, so what is saved is the wire,
    /// checkpoints and what a machine holds between steps. Default false: in the precision of training.
    /// </summary>
    public bool Float16 { get; init; }

    /// <summary>Asks for every option by its key.</summary>
    public BankOptions Read(IOptionReader given) => this with
    {
        Staleness = given.Count("bank_staleness", Staleness, 0, 64),
        Float16 = given.Switch("bank_float16", Float16),
    };
}
