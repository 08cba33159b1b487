namespace DarkMatter.Data;

/// <summary>
/// What a run says about the images it used, in 64 bits: the wrapping sum over them of a hash of (step, epoch, shard, sample). A sum does not
/// depend on the order, so ranks add theirs and the total is the same for every world size; whoever knows the <see cref="SampleOrder"/> can
/// recompute it. Two sets of images differ in their digests but for one chance in 2⁶⁴.
/// </summary>
/// <remarks>
/// The hash is of the place in the order, not of the bytes: a broken sample counts where it stands, and the quarantine names what took its place.
/// The ledger stores digests, so this function never changes.
/// </remarks>
public static class SampleDigest
{
    /// <summary>One image, used in one step.</summary>
    /// <param name="step">Updates applied before the step: the first step of a run is 0.</param>
    /// <param name="place">Where its lane stands.</param>
    public static ulong Of(long step, SamplePlace place) =>
        new KeyedRandom(0).With(step).With(place.Epoch).With(place.Address.Shard).With(place.Address.Sample).Key;

    /// <summary>All images of a step: what the ranks' batches must add up to, whatever the world size.</summary>
    /// <param name="order">The run's order.</param>
    /// <param name="globalBatch">Images of a step over all ranks; a multiple of the lanes.</param>
    /// <param name="step">Updates applied before the step.</param>
    /// <exception cref="ArgumentException">The batch does not divide into the lanes.</exception>
    public static ulong OfStep(SampleOrder order, int globalBatch, long step)
    {
        ArgumentNullException.ThrowIfNull(order);
        var (perLane, left) = Math.DivRem(globalBatch, order.Lanes);
        if (globalBatch < 1 || left != 0)
            throw new ArgumentException($"A batch of {globalBatch} does not divide into {order.Lanes} lanes.", nameof(globalBatch));
        var sum = 0UL;
        for (var lane = 0; lane < order.Lanes; lane++)
        {
            for (var sample = 0; sample < perLane; sample++)
                sum += Of(step, order.Locate(lane, step * perLane + sample));
        }

        return sum;
    }
}
