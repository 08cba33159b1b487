using System.Text.RegularExpressions;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>Where checkpoints can lie. Written in recipes.</summary>
public enum CheckpointPlace
{
    /// <summary>In the run's folder, which all trainers of the run share.</summary>
    Local = 0,

    /// <summary>In a container of Azure Blob Storage, or of what speaks its protocol.</summary>
    Azure = 1,
}

/// <summary>Section <c>checkpoints</c>: where a run's checkpoints lie and which stay. How often they are taken is <c>train.checkpoint_every</c>.</summary>
public sealed partial record CheckpointOptions
{
    /// <summary>Key <c>store</c>: <c>local</c> or <c>azure</c>. Default local.</summary>
    public CheckpointPlace Store { get; init; } = CheckpointPlace.Local;

    /// <summary>Key <c>container</c>: the container of <c>azure</c>; it is made when it does not exist. 3 to 63 lower-case letters, digits and '-'.</summary>
    public string Container { get; init; } = "";

    /// <summary>Key <c>prefix</c>: a run's blobs are <c>prefix/run/checkpoints/step/…</c>. Default none.</summary>
    public string Prefix { get; init; } = "";

    /// <summary>
    /// Key <c>account</c>: the account's address, as <c>https://NAME.blob.core.windows.net</c>; needed when the variable of
    /// <see cref="ConnectionEnv"/> is not set: the machine's own identity logs in then (DefaultAzureCredential).
    /// </summary>
    public string Account { get; init; } = "";

    /// <summary>
    /// Key <c>connection_env</c>: the environment variable that holds a connection string, or a URL with a shared access signature. Secrets
    /// do not belong into recipes. Default AZURE_STORAGE_CONNECTION_STRING, as the Azure CLI has it.
    /// </summary>
    public string ConnectionEnv { get; init; } = "AZURE_STORAGE_CONNECTION_STRING";

    /// <summary>Key <c>keep_last</c>: so many of the newest checkpoints stay, 1 and above. Default 3. Its former name is <c>train.checkpoints_kept</c>.</summary>
    public int KeepLast { get; init; } = 3;

    /// <summary>Key <c>keep_every</c>: checkpoints whose step is a multiple of this stay for ever; 0: none. Default 0.</summary>
    public long KeepEvery { get; init; }

    /// <summary>Which checkpoints stay.</summary>
    public CheckpointRetention Retention => new(KeepLast, KeepEvery);

    /// <summary>Everything that is wrong with these options, each beginning with its key; empty when nothing is.</summary>
    public IEnumerable<string> Problems()
    {
        if (Store == CheckpointPlace.Local)
            yield break;
        if (Container.Length == 0)
            yield return "checkpoints.container: store is azure, but no container is named";
        else if (!ContainerName().IsMatch(Container))
            yield return $"checkpoints.container: '{Container}' is none: 3 to 63 lower-case letters, digits and single '-' between them";
        if (Prefix.StartsWith('/') || Prefix.EndsWith('/') || Prefix.Contains("//", StringComparison.Ordinal) || Prefix.Contains('\\', StringComparison.Ordinal))
            yield return $"checkpoints.prefix: '{Prefix}' is made of names with single '/' between them, as in team/experiments";
        if (Account.Length > 0 && !(Uri.TryCreate(Account, UriKind.Absolute, out var uri) && uri.Scheme == Uri.UriSchemeHttps))
            yield return $"checkpoints.account: '{Account}' is no address, as in https://NAME.blob.core.windows.net (a login needs https)";
        if (Account.Length == 0 && ConnectionEnv.Length == 0)
            yield return "checkpoints.account: with store azure, give account or connection_env";
    }

    [GeneratedRegex("^(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*$", RegexOptions.CultureInvariant)]
    private static partial Regex ContainerName();
}
