using System.Reflection;
using DarkMatter.EndToEnd.Tests;

namespace DarkMatter.Faults;

/// <summary>docs/failures.md says what happens when something fails; each of its rows is a test here, and nothing that may fail is missing.</summary>
public sealed class FailureTableTests
{
    private static readonly string[] s_failures =
    [
        "trainer killed", "trainer hung", "network cut between two trainers", "trainer cut from silo", "silo killed and restarted", "blob store down or slow",
        "disk full", "corrupt or truncated image", "corrupt shard", "corrupt checkpoint part", "two trainers with one name", "a zombie returning", "clock jump",
        "node drained (SIGTERM)", "NaN loss", "recipe changed on resume", "slow or lossy network", "links that drop connections", "every trainer killed",
    ];

    [Fact]
    public void Table_HasEveryFailure() => Rows().Select(row => row.Failure).ShouldBe(s_failures);

    [Fact]
    public void Row_NamesATest()
    {
        foreach (var (failure, test) in Rows())
        {
            var (type, method) = test.Split('.') is [var a, var b] ? (a, b) : throw new FormatException($"{failure}: '{test}' is no class and method");
            var found = typeof(FailureTableTests).Assembly.GetType($"{typeof(FailureTableTests).Namespace}.{type}")?.GetMethod(method);
            found.ShouldNotBeNull($"{failure}: there is no {test}");
            found.GetCustomAttribute<FactAttribute>().ShouldNotBeNull($"{failure}: {test} is no test");
        }
    }

    private static IReadOnlyList<(string Failure, string Test)> Rows() =>
    [
        .. File.ReadLines(Path.Combine(Repository.Root, "docs", "failures.md")).Where(line => line.StartsWith('|')).Skip(2)
            .Select(line => line.Trim('|').Split('|')).Select(cells => (cells[0].Trim(), cells[^1].Trim().Trim('`'))),
    ];
}
