namespace DarkMatter.Data;

/// <summary>One image: the shard's number in the catalog and the sample's number in the shard.</summary>
public readonly record struct SampleAddress(int Shard, int Sample);

/// <summary>Where a lane stands: the epoch, the position in the lane within that epoch, and the sample found there.</summary>
public readonly record struct SamplePlace(long Epoch, long Position, SampleAddress Address);
