using System.Text;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace DarkMatter.Trainer.Recipes;

/// <summary>A piece of a recipe file with the place it came from.</summary>
internal abstract record RecipeNode(RecipePlace Place)
{
    /// <summary>How to call this kind of node in a message.</summary>
    public abstract string Kind { get; }
}

/// <summary>A single value. <see cref="Quoted"/> ones are always text, as in YAML.</summary>
internal sealed record ScalarNode(RecipePlace Place, string Text, bool Quoted) : RecipeNode(Place)
{
    public override string Kind => Quoted ? $"text \"{Text}\"" : IsNull ? "nothing" : $"'{Text}'";

    public bool IsNull => !Quoted && Text is "" or "~" or "null";
}

/// <summary>A list of values.</summary>
internal sealed record ListNode(RecipePlace Place, List<RecipeNode> Items) : RecipeNode(Place)
{
    public override string Kind => "a list";
}

/// <summary>Keys with values, in the file's order; each key appears once.</summary>
internal sealed record SectionNode(RecipePlace Place) : RecipeNode(Place)
{
    public override string Kind => "a section";

    public List<(string Key, RecipePlace KeyPlace, RecipeNode Value)> Entries { get; } = [];

    public RecipeNode? Find(string key) => Entries.Find(entry => entry.Key == key).Value;
}

/// <summary>Reads YAML text into nodes. What a recipe never needs (anchors, tags, several documents) is a problem, not silently accepted.</summary>
internal static class RecipeNodes
{
    private const int DeepestNesting = 16;

    /// <summary>The top section of the text; empty when the text has none or cannot be read, with the reason in <paramref name="problems"/>.</summary>
    public static SectionNode Parse(string yaml, List<RecipeProblem> problems)
    {
        var empty = new SectionNode(new RecipePlace(1, 1));
        try
        {
            var parser = new Parser(new StringReader(yaml));
            parser.Consume<StreamStart>();
            if (parser.Accept<StreamEnd>(out _))
            {
                return empty;
            }
            parser.Consume<DocumentStart>();
            var node = Read(parser, problems, depth: 0);
            parser.Consume<DocumentEnd>();
            if (parser.Accept<DocumentStart>(out var second))
            {
                problems.Add(new RecipeProblem(PlaceOf(second!.Start), "", "a recipe is one YAML document, but a second one begins here; put it in its own file"));
            }
            switch (node)
            {
                case SectionNode section:
                    return section;
                case ScalarNode { IsNull: true }:
                    return empty;
                default:
                    problems.Add(new RecipeProblem(node.Place, "", $"a recipe is made of keys such as 'name:' and 'train:', but it begins with {node.Kind}"));
                    return empty;
            }
        }
        catch (YamlException e)
        {
            problems.Add(new RecipeProblem(PlaceOf(e.Start), "", "this is not valid YAML: " + Sentence(e)));
            return empty;
        }
    }

    private static RecipeNode Read(IParser parser, List<RecipeProblem> problems, int depth)
    {
        if (depth > DeepestNesting)
        {
            throw new YamlException(parser.Current!.Start, parser.Current.End, $"nested deeper than {DeepestNesting} levels");
        }
        switch (parser.Current)
        {
            case AnchorAlias alias:
                throw new YamlException(alias.Start, alias.End, "anchors and aliases are not used in recipes; write the value out");
            case NodeEvent { Anchor.IsEmpty: false } anchored:
                throw new YamlException(anchored.Start, anchored.End, "anchors and aliases are not used in recipes; write the value out");
            case NodeEvent { Tag.IsEmpty: false, Tag.IsNonSpecific: false } tagged:
                throw new YamlException(tagged.Start, tagged.End, $"the tag {tagged.Tag.Value} is not used in recipes; write the value without it");
        }
        if (parser.TryConsume<Scalar>(out var scalar))
        {
            return new ScalarNode(PlaceOf(scalar.Start), scalar.Value, scalar.Style != ScalarStyle.Plain);
        }
        if (parser.TryConsume<SequenceStart>(out var listStart))
        {
            var list = new ListNode(PlaceOf(listStart.Start), []);
            while (!parser.TryConsume<SequenceEnd>(out _))
            {
                list.Items.Add(Read(parser, problems, depth + 1));
            }
            return list;
        }
        var start = parser.Consume<MappingStart>();
        var section = new SectionNode(PlaceOf(start.Start));
        while (!parser.TryConsume<MappingEnd>(out _))
        {
            var key = parser.Consume<Scalar>();
            var value = Read(parser, problems, depth + 1);
            if (section.Find(key.Value) is { } first)
            {
                problems.Add(new RecipeProblem(PlaceOf(key.Start), key.Value,
                    $"'{key.Value}' is given twice (first on line {first.Place.Line}); keep one of them"));
                continue;
            }
            section.Entries.Add((key.Value, PlaceOf(key.Start), value));
        }
        return section;
    }

    /// <summary>
    /// Puts <c>a.b=value</c> into the tree, replacing what is there. <c>[0]</c> picks an item of a list: <c>views[0].size=32</c>.
    /// The value is read as YAML, so lists and sections can be given too.
    /// </summary>
    public static void Set(SectionNode root, string assignment, List<RecipeProblem> problems)
    {
        var equals = assignment.IndexOf('=', StringComparison.Ordinal);
        if (equals <= 0)
        {
            problems.Add(new RecipeProblem(RecipePlace.CommandLine, "", $"'{assignment}' is not key=value, as in --set train.batch=256"));
            return;
        }
        var path = assignment[..equals].Trim();
        var found = new List<RecipeProblem>();
        var wrapped = Parse("value: " + assignment[(equals + 1)..], found);
        if (found.Count > 0 || wrapped.Find("value") is not { } parsed)
        {
            problems.Add(new RecipeProblem(RecipePlace.CommandLine, path, $"the value of '{assignment}' is not valid YAML"));
            return;
        }
        var value = OnCommandLine(parsed);
        RecipeNode current = root;
        var parts = path.Replace("[", ".[", StringComparison.Ordinal).Split('.', StringSplitOptions.RemoveEmptyEntries);
        for (var i = 0; i < parts.Length; i++)
        {
            var last = i == parts.Length - 1;
            if (parts[i] is ['[', .. var digits, ']'])
            {
                if (current is not ListNode list || !int.TryParse(digits, out var index) || index < 0 || index >= list.Items.Count)
                {
                    problems.Add(new RecipeProblem(RecipePlace.CommandLine, path, $"'{path}' names an item that the recipe does not have"));
                    return;
                }
                if (last)
                {
                    list.Items[index] = value;
                    return;
                }
                current = list.Items[index];
                continue;
            }
            if (current is not SectionNode section)
            {
                problems.Add(new RecipeProblem(RecipePlace.CommandLine, path, $"'{path}' goes through {current.Kind}, which has no keys"));
                return;
            }
            var at = section.Entries.FindIndex(entry => entry.Key == parts[i]);
            RecipeNode next = last ? value : at >= 0 && section.Entries[at].Value is not ScalarNode
                ? section.Entries[at].Value
                : new SectionNode(RecipePlace.CommandLine);
            if (at >= 0)
            {
                section.Entries[at] = section.Entries[at] with { Value = next, KeyPlace = last ? RecipePlace.CommandLine : section.Entries[at].KeyPlace };
            }
            else
            {
                section.Entries.Add((parts[i], RecipePlace.CommandLine, next));
            }
            current = next;
        }
    }

    private static RecipeNode OnCommandLine(RecipeNode node)
    {
        switch (node)
        {
            case ScalarNode scalar:
                return scalar with { Place = RecipePlace.CommandLine };
            case ListNode list:
                return new ListNode(RecipePlace.CommandLine, [.. list.Items.Select(OnCommandLine)]);
            case SectionNode section:
                var moved = new SectionNode(RecipePlace.CommandLine);
                moved.Entries.AddRange(section.Entries.Select(entry => (entry.Key, RecipePlace.CommandLine, OnCommandLine(entry.Value))));
                return moved;
            default:
                throw new InvalidOperationException($"unexpected node {node.Kind}");
        }
    }

    private static RecipePlace PlaceOf(Mark mark) => new((int)mark.Line, (int)mark.Column);

    private static string Sentence(YamlException e)
    {
        var message = e.InnerException?.Message ?? e.Message;
        var text = new StringBuilder(message.Trim().TrimEnd('.'));
        if (text.Length > 0)
        {
            text[0] = char.ToLowerInvariant(text[0]);
        }
        return text.ToString();
    }
}
