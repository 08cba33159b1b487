using DarkMatter.Bench;

namespace DarkMatter.Bank.Bench;

/// <summary>The page of results: every line goes to the console as it comes, and at the end all to a file.</summary>
internal sealed class Page
{
    private readonly List<string> _lines = [];

    public void Line(string text)
    {
        Console.WriteLine(text);
        _lines.Add(text);
    }

    /// <summary>A table's head.</summary>
    public void Columns(params string[] names)
    {
        Line("");
        Row(names);
        Row([.. names.Select(_ => "---")]);
    }

    public void Row(params string[] cells) => Line($"| {string.Join(" | ", cells)} |");

    public void Write(string path) => File.WriteAllText(Path.Combine(Machine.Root, path), string.Join('\n', _lines) + "\n");
}
