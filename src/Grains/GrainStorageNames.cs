namespace DarkMatter.Grains;

/// <summary>Names of the storage providers that the host adds.</summary>
public static class GrainStorageNames
{
    /// <summary>Everything that survives a restart.</summary>
    public const string State = "state";
}
