using System.Globalization;
using System.Text.RegularExpressions;

namespace DarkMatter.Trainer.Recipes;

/// <summary>Spans of time as people write them: <c>90s</c>, <c>5m</c>, <c>1h30m</c>, <c>500ms</c>; a bare number is seconds.</summary>
public static partial class TimeSpans
{
    private static readonly TimeSpan Longest = TimeSpan.FromDays(3650);

    /// <summary>Reads a span above zero; false when the text is not one.</summary>
    public static bool TryParse(string text, out TimeSpan span)
    {
        span = default;
        if (double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var bare))
        {
            return InBounds(bare, out span);
        }
        var match = Parts().Match(text);
        if (!match.Success || text.Length == 0)
        {
            return false;
        }
        var seconds = Number(match, "d") * 86400 + Number(match, "h") * 3600 + Number(match, "m") * 60 + Number(match, "s") + Number(match, "ms") / 1000;
        return InBounds(seconds, out span);
    }

    /// <summary>Writes the span so that <see cref="TryParse"/> reads the same one: <c>1h30m</c>, <c>2.5s</c>.</summary>
    public static string Format(TimeSpan span)
    {
        var text = "";
        if (span.Days > 0)
        {
            text += span.Days.ToString(CultureInfo.InvariantCulture) + "d";
        }
        if (span.Hours > 0)
        {
            text += span.Hours.ToString(CultureInfo.InvariantCulture) + "h";
        }
        if (span.Minutes > 0)
        {
            text += span.Minutes.ToString(CultureInfo.InvariantCulture) + "m";
        }
        var seconds = span.Ticks % TimeSpan.TicksPerMinute / (double)TimeSpan.TicksPerSecond;
        return seconds > 0 || text.Length == 0 ? text + seconds.ToString("0.###", CultureInfo.InvariantCulture) + "s" : text;
    }

    private static double Number(Match match, string group) =>
        match.Groups[group].Success ? double.Parse(match.Groups[group].ValueSpan, CultureInfo.InvariantCulture) : 0;

    private static bool InBounds(double seconds, out TimeSpan span)
    {
        span = default;
        if (!(seconds > 0) || seconds > Longest.TotalSeconds)
        {
            return false;
        }
        span = TimeSpan.FromMilliseconds(Math.Round(seconds * 1000));
        return span > TimeSpan.Zero;
    }

    [GeneratedRegex(@"^(?:(?<d>\d{1,6}(?:\.\d{1,6})?)d)?(?:(?<h>\d{1,6}(?:\.\d{1,6})?)h)?(?:(?<m>\d{1,7}(?:\.\d{1,6})?)m(?!s))?(?:(?<s>\d{1,9}(?:\.\d{1,6})?)s)?(?:(?<ms>\d{1,9})ms)?$", RegexOptions.CultureInvariant)]
    private static partial Regex Parts();
}
