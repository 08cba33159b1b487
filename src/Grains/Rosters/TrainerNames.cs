namespace DarkMatter.Grains;

/// <summary>The order of trainers' names.</summary>
public static class TrainerNames
{
    /// <summary>trainer-2 before trainer-10: by the text before a trailing number, then by the number.</summary>
    public static int Compare(string a, string b)
    {
        int prefixA = a.Length - TrailingDigits(a);
        int prefixB = b.Length - TrailingDigits(b);
        int byText = string.CompareOrdinal(a[..prefixA], b[..prefixB]);
        if (byText != 0)
        {
            return byText;
        }

        string digitsA = a[prefixA..].TrimStart('0');
        string digitsB = b[prefixB..].TrimStart('0');
        int byLength = digitsA.Length.CompareTo(digitsB.Length);
        int byNumber = byLength != 0 ? byLength : string.CompareOrdinal(digitsA, digitsB);
        return byNumber != 0 ? byNumber : string.CompareOrdinal(a, b);
    }

    private static int TrailingDigits(string text)
    {
        int count = 0;
        while (count < text.Length && char.IsAsciiDigit(text[^(count + 1)]))
        {
            count++;
        }

        return count;
    }
}
