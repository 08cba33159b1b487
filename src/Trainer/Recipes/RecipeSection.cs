using System.Globalization;
using DarkMatter.Trainer.Methods;

namespace DarkMatter.Trainer.Recipes;

/// <summary>
/// Reads one section of a recipe, option by option, against its defaults. The same calls that read a value also say which keys exist,
/// check type and range, and write the resolved value down, so a recipe's reader, its validation and its canonical form cannot disagree.
/// Problems are collected, never thrown: a bad value reads as its default.
/// </summary>
internal sealed class RecipeSection : IOptionReader
{
    private readonly RecipeReading reading;
    private readonly SectionNode given;
    private readonly HashSet<string> known = [];

    public RecipeSection(RecipeReading reading, string path, SectionNode given)
    {
        this.reading = reading;
        this.given = given;
        Path = path;
    }

    /// <summary>The section's full name; empty for the top.</summary>
    public string Path { get; }

    /// <summary>The resolved values so far, in the order they were asked for.</summary>
    public SectionNode Resolved { get; } = new(default);

    /// <summary>A real number from <paramref name="min"/> to <paramref name="max"/>; more than min where <paramref name="aboveMin"/>.</summary>
    public double Real(string key, double value, double min = double.NegativeInfinity, double max = double.PositiveInfinity, bool aboveMin = false)
    {
        if (Scalar(key, "a number, as in 0.5") is { } node)
        {
            if (!TryReal(node, out var read))
            {
                Wrong(key, node, $"it must be a number, as in {Text(value)}");
            }
            else if (!(read >= min && read <= max) || (aboveMin && read == min))
            {
                Wrong(key, node, "it must be " + RangeText(min, max, aboveMin));
            }
            else
            {
                value = read;
            }
        }
        return Write(key, value, Text(value));
    }

    /// <summary>A whole number from <paramref name="min"/> to <paramref name="max"/>.</summary>
    public long Whole(string key, long value, long min = long.MinValue, long max = long.MaxValue)
    {
        if (Scalar(key, "a whole number, as in 8") is { } node)
        {
            if (!TryWhole(node, out var read))
            {
                Wrong(key, node, $"it must be a whole number, as in {Text(value)}");
            }
            else if (read < min || read > max)
            {
                Wrong(key, node, "it must be " + RangeText(min, max, aboveMin: false));
            }
            else
            {
                value = read;
            }
        }
        return Write(key, value, Text(value));
    }

    /// <summary>A whole number that fits an <see cref="int"/>.</summary>
    public int Count(string key, int value, int min = 0, int max = int.MaxValue) => (int)Whole(key, value, min, max);

    /// <summary>A whole number whose option has another name now: old recipes still give it, and the resolved recipe has it under its new name.</summary>
    public int? FormerCount(string key, int min, int max)
    {
        var value = Count(key, min, min, max);
        Resolved.Entries.RemoveAt(Resolved.Entries.Count - 1);
        return given.Find(key) is null ? null : value;
    }

    /// <summary>true or false.</summary>
    public bool Switch(string key, bool value)
    {
        if (Scalar(key, "true or false") is { } node)
        {
            switch (node.Quoted ? "" : node.Text)
            {
                case "true":
                    value = true;
                    break;
                case "false":
                    value = false;
                    break;
                default:
                    Wrong(key, node, "it must be true or false");
                    break;
            }
        }
        return Write(key, value, value ? "true" : "false");
    }

    /// <summary>Text without line breaks; empty text counts as not given.</summary>
    public string Words(string key, string value)
    {
        if (Scalar(key, "text") is { } node)
        {
            value = node.IsNull ? "" : node.Text;
        }
        Write(key, value, value, quoted: NeedsQuotes(value));
        return value;
    }

    /// <summary>A path; a relative one belongs to the recipe's folder (to the working folder when given with <c>--set</c>). Resolved to a full path.</summary>
    public string FilePath(string key, string value)
    {
        if (Scalar(key, "a path") is { IsNull: false } node && node.Text.Length > 0)
        {
            var folder = node.Place == RecipePlace.CommandLine ? Environment.CurrentDirectory : reading.Folder;
            value = System.IO.Path.GetFullPath(System.IO.Path.Combine(folder, node.Text));
        }
        Write(key, value, value, quoted: NeedsQuotes(value));
        return value;
    }

    /// <summary>One of the names of an enum, written in lower case with underscores.</summary>
    public T Choice<T>(string key, T value)
        where T : struct, Enum
    {
        var choices = Enum.GetValues<T>();
        var word = OneOf(key, WordOf(value), [.. choices.Select(WordOf)]);
        return Array.Find(choices, choice => WordOf(choice) == word);
    }

    /// <summary>One of <paramref name="words"/>.</summary>
    public string OneOf(string key, string value, IReadOnlyList<string> words)
    {
        var list = string.Join(", ", words);
        if (Scalar(key, "one of " + list) is { } node)
        {
            if (words.Contains(node.Text))
            {
                value = node.Text;
            }
            else
            {
                var nearest = words.Count > 1 ? NearestName.Find(node.Text, words) : null;
                Wrong(key, node, $"it must be {(words.Count > 1 ? "one of " : "")}{list}" + (nearest is null ? "" : $" (did you mean {nearest}?)"));
            }
        }
        return Write(key, value, value);
    }

    /// <summary>A span of time, as <c>90s</c>, <c>5m</c> or <c>1h30m</c>; <c>none</c> for no limit.</summary>
    public TimeSpan? Span(string key, TimeSpan? value)
    {
        if (Scalar(key, "a span of time, as in 5m") is { } node)
        {
            if (node.IsNull || node.Text == "none")
            {
                value = null;
            }
            else if (TimeSpans.TryParse(node.Text, out var read))
            {
                value = read;
            }
            else
            {
                Wrong(key, node, "it must be a span of time such as 90s, 5m or 1h30m, or none");
            }
        }
        return Write(key, value, value is { } span ? TimeSpans.Format(span) : "none");
    }

    /// <summary>Two numbers in ascending order, as <c>[0.2, 1.0]</c>.</summary>
    public (double Min, double Max) Range(string key, double low, double high, double min, double max)
    {
        var values = Reals(key, [low, high], 2, min, max);
        if (values[0] > values[1])
        {
            Wrong(key, given.Find(key)!, "the first number must not be above the second");
            return (low, high);
        }
        return (values[0], values[1]);
    }

    /// <summary>A list of exactly <paramref name="length"/> numbers.</summary>
    public IReadOnlyList<double> Reals(string key, IReadOnlyList<double> values, int length, double min, double max)
    {
        known.Add(key);
        if (given.Find(key) is { } node)
        {
            reading.Place(Name(key), node.Place);
            var example = "[" + string.Join(", ", values.Select(Text)) + "]";
            if (node is not ListNode list || list.Items.Count != length)
            {
                Wrong(key, node, $"it must be a list of {length} number{(length == 1 ? "" : "s")}, as in {example}");
            }
            else
            {
                var read = new double[length];
                var good = true;
                for (var i = 0; i < length; i++)
                {
                    if (list.Items[i] is not ScalarNode item || !TryReal(item, out read[i]) || read[i] < min || read[i] > max)
                    {
                        Wrong(key, list.Items[i], $"each number must be {RangeText(min, max, aboveMin: false)}");
                        good = false;
                    }
                }
                values = good ? read : values;
            }
        }
        Resolved.Entries.Add((key, default, new ListNode(default, [.. values.Select(value => (RecipeNode)new ScalarNode(default, Text(value), false))])));
        return values;
    }

    /// <summary>A nested section.</summary>
    public T Section<T>(string key, T value, Func<RecipeSection, T, T> read)
    {
        known.Add(key);
        var node = given.Find(key);
        if (node is not (null or SectionNode or ScalarNode { IsNull: true }))
        {
            Wrong(key, node, "it must be a section: indented keys below it");
        }
        var section = new RecipeSection(reading, Name(key), node as SectionNode ?? new SectionNode(node?.Place ?? given.Place));
        value = read(section, value);
        section.Close();
        Resolved.Entries.Add((key, default, section.Resolved));
        return value;
    }

    /// <summary>A list of sections, <paramref name="min"/> to <paramref name="max"/> of them.</summary>
    public IReadOnlyList<T> Sections<T>(string key, IReadOnlyList<T> values, T item, int min, int max, Func<RecipeSection, T, T> read)
    {
        known.Add(key);
        var node = given.Find(key);
        List<(SectionNode Node, T Value)> items = [.. values.Select(value => (new SectionNode(given.Place), value))];
        if (node is not null)
        {
            reading.Place(Name(key), node.Place);
            if (node is not ListNode list || list.Items.Any(one => one is not SectionNode) || list.Items.Count < min || list.Items.Count > max)
            {
                Wrong(key, node, $"it must be a list of {min} to {max} sections, each beginning with '- '");
            }
            else
            {
                items = [.. list.Items.Select(one => ((SectionNode)one, item))];
            }
        }
        var results = new List<T>();
        var resolved = new ListNode(default, []);
        foreach (var (one, start) in items)
        {
            var section = new RecipeSection(reading, $"{Name(key)}[{results.Count}]", one);
            results.Add(read(section, start));
            section.Close();
            resolved.Items.Add(section.Resolved);
        }
        Resolved.Entries.Add((key, default, resolved));
        return results;
    }

    /// <summary>Reports the given keys that no call asked for. Call once, after the last option.</summary>
    public void Close()
    {
        foreach (var (key, place, _) in given.Entries.Where(entry => !known.Contains(entry.Key)))
        {
            reading.Unknown(place, Path, key, known);
        }
        foreach (var key in known)
        {
            reading.Know(Path, key);
        }
    }

    /// <summary>The word of an enum value in a recipe: lower case, words joined by underscores; names of the field as the field writes them.</summary>
    public static string WordOf<T>(T choice)
        where T : struct, Enum
    {
        var name = choice.ToString();
        return name switch
        {
            "ImageNet" or "BFloat16" or "AdamW" => name.ToLowerInvariant(),
            _ => string.Concat(name.Select((c, i) => i > 0 && char.IsUpper(c) ? "_" + char.ToLowerInvariant(c) : char.ToLowerInvariant(c).ToString())),
        };
    }

    internal static string Text(double value) => value.ToString("R", CultureInfo.InvariantCulture);

    internal static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);

    private string Name(string key) => Path.Length == 0 ? key : Path + "." + key;

    private ScalarNode? Scalar(string key, string what)
    {
        known.Add(key);
        var node = given.Find(key);
        switch (node)
        {
            case null:
                return null;
            case ScalarNode scalar:
                reading.Place(Name(key), scalar.Place);
                return scalar;
            default:
                Wrong(key, node, "it must be " + what);
                return null;
        }
    }

    private T Write<T>(string key, T value, string text, bool quoted = false)
    {
        Resolved.Entries.Add((key, default, new ScalarNode(default, text, quoted)));
        return value;
    }

    private void Wrong(string key, RecipeNode node, string must) =>
        reading.Problem(node.Place, Name(key), $"{Name(key)} is {node.Kind}, but {must}");

    private static bool TryReal(ScalarNode node, out double value)
    {
        value = 0;
        return !node.Quoted
            && double.TryParse(node.Text, NumberStyles.Float, CultureInfo.InvariantCulture, out value)
            && double.IsFinite(value);
    }

    private static bool TryWhole(ScalarNode node, out long value)
    {
        value = 0;
        return !node.Quoted
            && long.TryParse(node.Text.Replace("_", "", StringComparison.Ordinal), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);
    }

    private static string RangeText(double min, double max, bool aboveMin)
    {
        var low = aboveMin ? "more than " + Text(min) : "at least " + Text(min);
        return (double.IsNegativeInfinity(min) || min == long.MinValue, double.IsPositiveInfinity(max) || max >= int.MaxValue) switch
        {
            (true, true) => "a number",
            (true, false) => "at most " + Text(max),
            (false, true) => low,
            (false, false) => (aboveMin ? low + " and at most " : "from " + Text(min) + " to ") + Text(max),
        };
    }

    private static bool NeedsQuotes(string text) =>
        text.Length == 0 || text.Any(c => c is ':' or '#' or '"' or '\'' or '[' or ']' or '{' or '}' or ',' or '&' or '*' or '!' or '|' or '>' or '%' or '@' or '`' || char.IsControl(c))
        || char.IsWhiteSpace(text[0]) || char.IsWhiteSpace(text[^1]) || text[0] is '-' or '?' || text is "~" or "null" or "true" or "false"
        || double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out _);
}
