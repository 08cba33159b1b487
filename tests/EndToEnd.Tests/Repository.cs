namespace DarkMatter.EndToEnd.Tests;

/// <summary>The working tree that the tests were built from.</summary>
internal static class Repository
{
    public static string Root { get; } = Find();

    private static string Find()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Distributed.sln")))
        {
            folder = Path.GetDirectoryName(folder) ?? throw new InvalidOperationException("Distributed.sln is not above the tests' folder");
        }
        return folder;
    }
}
