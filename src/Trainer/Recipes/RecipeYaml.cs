using System.Globalization;
using System.Text;

namespace DarkMatter.Trainer.Recipes;

/// <summary>Writes nodes as YAML in one fixed form: the same options always give the same bytes, so a digest of them means something.</summary>
internal static class RecipeYaml
{
    /// <summary>The tree as block style YAML, two spaces deep, LF line ends, lists of plain values in one line.</summary>
    public static string Write(SectionNode root)
    {
        var text = new StringBuilder();
        Section(text, root, depth: 0, firstIndented: true);
        return text.ToString();
    }

    /// <summary>Every option under its full name, in the file's order.</summary>
    public static IEnumerable<(string Name, string Value)> Flatten(RecipeNode node, string name = "")
    {
        switch (node)
        {
            case SectionNode section:
                return section.Entries.SelectMany(entry => Flatten(entry.Value, name.Length == 0 ? entry.Key : name + "." + entry.Key));
            case ListNode list when list.Items.Exists(item => item is SectionNode):
                return list.Items.SelectMany((item, index) => Flatten(item, name + "[" + index.ToString(CultureInfo.InvariantCulture) + "]"));
            default:
                return [(name, Inline(node))];
        }
    }

    private static void Section(StringBuilder text, SectionNode section, int depth, bool firstIndented)
    {
        var first = true;
        foreach (var (key, _, value) in section.Entries)
        {
            if (!first || firstIndented)
            {
                text.Append(' ', depth * 2);
            }
            first = false;
            text.Append(key).Append(':');
            switch (value)
            {
                case SectionNode { Entries.Count: > 0 } inner:
                    text.Append('\n');
                    Section(text, inner, depth + 1, firstIndented: true);
                    break;
                case ListNode list when list.Items.Exists(item => item is SectionNode):
                    text.Append('\n');
                    foreach (var item in list.Items.Cast<SectionNode>())
                    {
                        text.Append(' ', (depth + 1) * 2).Append("- ");
                        Section(text, item, depth + 2, firstIndented: false);
                    }
                    break;
                default:
                    text.Append(' ').Append(Inline(value)).Append('\n');
                    break;
            }
        }
    }

    private static string Inline(RecipeNode node) => node switch
    {
        ScalarNode { Quoted: true } scalar => "\"" + Escape(scalar.Text) + "\"",
        ScalarNode scalar => scalar.Text,
        ListNode list => "[" + string.Join(", ", list.Items.Select(Inline)) + "]",
        _ => "{}",
    };

    private static string Escape(string text)
    {
        var escaped = new StringBuilder();
        foreach (var c in text)
        {
            _ = c switch
            {
                '"' => escaped.Append("\\\""),
                '\\' => escaped.Append("\\\\"),
                '\n' => escaped.Append("\\n"),
                '\t' => escaped.Append("\\t"),
                _ when char.IsControl(c) => escaped.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:X4}"),
                _ => escaped.Append(c),
            };
        }
        return escaped.ToString();
    }
}
