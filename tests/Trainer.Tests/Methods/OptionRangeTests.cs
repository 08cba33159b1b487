using System.Globalization;
using DarkMatter.Trainer.Methods;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Training;

namespace DarkMatter.Trainer.Tests.Methods;

/// <summary>Options with which a method would learn nothing, or could not be computed, are refused, with the key, the value and what is allowed.</summary>
[Collection(TorchCollection.Name)]
public sealed class OptionRangeTests
{
    /// <summary>What no method can do with, by the end of the key.</summary>
    private static readonly (string Ending, double[] Values)[] Degenerate =
    [
        ("temperature", [0, -0.1, double.NaN]),
        ("momentum", [-0.01, 1.01, double.NaN]),
        ("margin", [0, -1]),
        ("lambda", [0, -1]),
        ("epsilon", [0, -0.05]),
        ("invariance", [-1]),
        ("variance", [-1]),
        ("prototypes", [1, 0]),
        ("outputs", [1]),
        ("output", [1]),
        ("negatives", [0]),
        ("sinkhorn_iterations", [0]),
        ("code_views", [0]),
        ("queue", [-12]),
        ("steps", [-1]),
    ];

    public static TheoryData<string, string, double> OutOfRange
    {
        get
        {
            var data = new TheoryData<string, string, double>();
            foreach (var method in MethodRegistry.Names)
            {
                foreach (var range in RangesOf(method))
                {
                    foreach (var value in Degenerate.Where(d => range.Key.EndsWith(d.Ending, StringComparison.Ordinal)).SelectMany(d => d.Values).Append(range.Below).Append(range.Above).Distinct())
                        data.Add(method, range.Key, value);
                }
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(OutOfRange))]
    public void Problems_ValueOutOfRange_NamesKeyValueAndRange(string method, string key, double value)
    {
        var problem = MethodRegistry.Defaults(method).Read(new Given(key, value)).Problems().ShouldHaveSingleItem();
        problem.ShouldBe(string.Create(CultureInfo.InvariantCulture, $"method.{key}: {value} is outside {RangesOf(method).Single(r => r.Key == key).Text}"));
    }

    [Fact]
    public void Degenerate_EveryKind_IsAnOptionOfSomeMethod()
    {
        string[] keys = [.. MethodRegistry.Names.SelectMany(RangesOf).Select(r => r.Key)];
        foreach (var (ending, _) in Degenerate)
            keys.ShouldContain(key => key.EndsWith(ending, StringComparison.Ordinal), ending);
    }

    /// <summary>What depends on more than the option: 12 images a batch, 20 in the dataset, two views.</summary>
    public static TheoryData<string, string[]> DoesNotFit => new()
    {
        { "vicreg", ["method.invariance, method.variance, method.covariance", "0, 0 and 0", "(0, 1000]"] },
        { "moco queue", ["method.queue", "100", "a multiple of the global batch, 12", "96"] },
        { "moco groups", ["method.shuffle_groups", "7 groups of 12 images", "a group needs 2"] },
        { "swav queue", ["method.queue", "30", "a multiple of the global batch, 12", "24 or 0"] },
        { "swav codes", ["method.code_views", "3", "an image has 2"] },
        { "deepcluster codes", ["method.code_views", "3", "an image has 2"] },
        { "deepcluster clusters", ["method.prototypes", "21", "20 images"] },
        { "pirl negatives", ["method.negatives", "20", "at most 19"] },
    };

    [Theory]
    [MemberData(nameof(DoesNotFit))]
    public void Create_ValueThatDoesNotFit_NamesKeyValueAndRange(string what, string[] parts)
    {
        MethodOptions options = what switch
        {
            "vicreg" => new VicRegOptions { Invariance = 0, Variance = 0, Covariance = 0 },
            "moco queue" => new MoCoOptions { Queue = 100 },
            "moco groups" => new MoCoOptions { Queue = 120, ShuffleGroups = 7 },
            "swav queue" => new SwAvOptions { Queue = 30 },
            "swav codes" => new SwAvOptions { CodeViews = 3 },
            "deepcluster codes" => new DeepClusterV2Options { Prototypes = 4, CodeViews = 3 },
            "deepcluster clusters" => new DeepClusterV2Options { Prototypes = 21 },
            "pirl negatives" => new PirlOptions { Negatives = 20 },
            _ => throw new ArgumentOutOfRangeException(nameof(what)),
        };
        var setup = new MethodSetup(new ResNetOptions { Width = 8 }, new Normalization(TorchStack.Current, null), Rows.OneRank(12), options.SmallestViews) { Images = 20 };
        var message = Should.Throw<ArgumentException>(() => options.Create(setup)).Message;
        foreach (var part in parts)
            message.ShouldContain(part);
    }

    [Fact]
    public void Problems_OneWeightOfVicRegAboveZero_AreNone()
    {
        var none = new VicRegOptions { Invariance = 0, Variance = 0, Covariance = 0 };
        foreach (var some in (VicRegOptions[])[none with { Invariance = 1 }, none with { Variance = 1 }, none with { Covariance = 1 }])
            some.Problems().ShouldBeEmpty();
    }

    private static List<Range> RangesOf(string method)
    {
        var ranges = new Ranges();
        MethodRegistry.Defaults(method).Read(ranges);
        return ranges.All;
    }

    /// <summary>What an option may be.</summary>
    /// <param name="Key">In section <c>method</c>.</param>
    /// <param name="Below">A value that is too low.</param>
    /// <param name="Above">One that is too high.</param>
    /// <param name="Text">As messages spell it.</param>
    private sealed record Range(string Key, double Below, double Above, string Text);

    /// <summary>Answers with the defaults and notes what is allowed.</summary>
    private sealed class Ranges : IOptionReader
    {
        public List<Range> All { get; } = [];

        public double Real(string key, double value, double min, double max, bool aboveMin)
        {
            All.Add(new Range(key, aboveMin ? min : min - 1, max + 1, string.Create(CultureInfo.InvariantCulture, $"{(aboveMin ? '(' : '[')}{min}, {max}]")));
            return value;
        }

        public int Count(string key, int value, int min, int max) => (int)Whole(key, value, min, max);

        public long Whole(string key, long value, long min, long max)
        {
            All.Add(new Range(key, min - 1, max + 1, $"{min}..{max}"));
            return value;
        }

        public bool Switch(string key, bool value) => value;
    }

    /// <summary>Answers with the defaults, but for one key.</summary>
    private sealed class Given(string given, double instead) : IOptionReader
    {
        public double Real(string key, double value, double min, double max, bool aboveMin) => key == given ? instead : value;

        public int Count(string key, int value, int min, int max) => key == given ? (int)instead : value;

        public long Whole(string key, long value, long min, long max) => key == given ? (long)instead : value;

        public bool Switch(string key, bool value) => value;
    }
}
