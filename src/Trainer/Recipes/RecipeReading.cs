namespace DarkMatter.Trainer.Recipes;

/// <summary>What one reading of a recipe gathers: its problems, where each option stands, which keys exist.</summary>
internal sealed class RecipeReading(string folder, List<RecipeProblem> problems)
{
    private readonly Dictionary<string, RecipePlace> places = [];
    private readonly List<(RecipePlace Place, string Section, string Key, string[] Siblings)> unknown = [];
    private readonly Dictionary<string, string> sectionOfKey = [];

    /// <summary>Relative paths in the file belong to this folder.</summary>
    public string Folder { get; } = folder;

    public void Place(string name, RecipePlace place) => places[name] = place;

    public void Problem(RecipePlace place, string name, string message) => problems.Add(new RecipeProblem(place, name, message));

    /// <summary>Reports a problem with an option that was read: at its place in the file, or at the top when it was left at its default.</summary>
    public void ProblemWith(string name, string message) =>
        Problem(places.TryGetValue(name, out var place) ? place : new RecipePlace(1, 1), name, message);

    /// <summary>Whether the file or the command line gives this option.</summary>
    public bool IsGiven(string name) => places.ContainsKey(name);

    public void Know(string section, string key) => sectionOfKey.TryAdd(key, section);

    public void Unknown(RecipePlace place, string section, string key, IEnumerable<string> siblings) =>
        unknown.Add((place, section, key, [.. siblings]));

    /// <summary>Turns the unknown keys into problems, each with the nearest known name: of the same section first, then of any other.</summary>
    public void ReportUnknown()
    {
        foreach (var (place, section, key, siblings) in unknown)
        {
            var name = section.Length == 0 ? key : section + "." + key;
            var where = section.Length == 0 ? "a recipe" : $"'{section}'";
            string advice;
            if (NearestName.Find(key, siblings) is { } near)
            {
                advice = $"did you mean '{near}'?";
            }
            else if (sectionOfKey.TryGetValue(key, out var other))
            {
                advice = other.Length == 0 ? $"'{key}' belongs to the top of the file" : $"'{key}' belongs under '{other}'";
            }
            else
            {
                advice = "it knows " + string.Join(", ", siblings);
            }
            problems.Add(new RecipeProblem(place, name, $"unknown key '{key}': {where} does not have it; {advice}"));
        }
    }
}
