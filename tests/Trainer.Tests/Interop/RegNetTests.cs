using System.Globalization;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Interop;

/// <summary>RegNetY is torchvision's: same names, same numbers forward and backward, same widths at every size, and exports load there.</summary>
[Collection(TorchCollection.Name)]
public sealed class RegNetTests : IDisposable
{
    private static readonly RegNetOptions Tiny = new() { Depth = 5, Width = 16, Slope = 14.5, Factor = 1.9, GroupWidth = 8, StemWidth = 8, SmallStem = true };
    private readonly string _folder = Directory.CreateTempSubdirectory("export").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("regnet_y", 16)]
    [InlineData("regnet_y_400mf", 32)]
    public void ForwardAndBackward_SameWeights_EqualTorchvisions(string size, int pixels)
    {
        using var scope = NewDisposeScope();
        manual_seed(pixels);
        var options = size == "regnet_y" ? Tiny : RegNetOptions.Of(size);
        using var net = options.Create(new Normalization(TorchStack.Current, null)).to(ScalarType.Float64);
        var (x, weight) = (randn([6, 3, pixels, pixels], dtype: ScalarType.Float64), randn([6, net.Features], dtype: ScalarType.Float64));
        var peer = Peer.Ask("regnet", net.state_dict().Select(t => ("p." + t.Key, t.Value)).Concat([("x", x), ("weight", weight)]), Parameters(options));

        var features = net.call(x);
        (features * weight).sum().backward();
        Difference(features, peer["features"]).ShouldBeLessThan(1e-10);
        foreach (var (name, buffer) in net.named_buffers())
            Difference(buffer, peer["buffer." + name]).ShouldBeLessThan(1e-10, name);
        var largest = net.named_parameters().Max(p => Math.Sqrt(Square(peer["grad." + p.name])));
        foreach (var (name, parameter) in net.named_parameters())
            (Math.Sqrt(Square(parameter.grad! - peer["grad." + name])) / largest).ShouldBeLessThan(1e-9, name);
        net.eval();
        using var _ = no_grad();
        Difference(net.call(x), peer["evaluated"]).ShouldBeLessThan(1e-10);
    }

    /// <summary>Asked of torchvision's own arithmetic, for every size that it and VISSL name.</summary>
    [Fact]
    public void Stages_OfEveryKnownSize_AreTorchvisions()
    {
        var script = Path.Combine(_folder, "stages.py");
        var sizes = RegNetOptions.Names.Where(name => name != "regnet_y").Select(RegNetOptions.Of).Append(Tiny).ToList();
        File.WriteAllLines(script,
        [
            "from torchvision.models.regnet import BlockParams",
            .. sizes.Select(o => string.Create(CultureInfo.InvariantCulture,
                $"p = BlockParams.from_init_params(depth={o.Depth}, w_0={o.Width}, w_a={o.Slope}, w_m={o.Factor}, group_width={o.GroupWidth}); print([*zip(p.widths, p.depths, p.group_widths)])")),
        ]);
        var expected = Peer.Run(script).Trim().Split('\n');
        sizes.Select(o => "[" + string.Join(", ", o.Stages().Select(s => $"({s.Width}, {s.Depth}, {s.GroupWidth})")) + "]").ShouldBe(expected);
        RegNetOptions.Of("regnet_y_256gf").Stages()[^1].Width.ShouldBe(10444, "the features of SEER's 1.3 billion parameters, as VISSL's head expects them");
    }

    [Theory]
    [InlineData("regnet_y")]
    [InlineData("regnet_y_400mf")]
    public void Export_LoadedByTheLinesBesideIt_GivesTheSameFeatures(string size)
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        using var net = (size == "regnet_y" ? Tiny : RegNetOptions.Of(size)).Create(new Normalization(TorchStack.Current, null));
        using (no_grad())
            net.call(randn(8, 3, 32, 32)).Dispose();        // moves the running statistics off their start
        Exports.ShouldGiveTheSameFeatures(net, randn(4, 3, 32, 32), _folder);
    }

    [Fact]
    public void Options_OutOfRange_AreNamedTogether()
    {
        var message = Should.Throw<ArgumentException>(() => new RegNetOptions { Width = 20, Factor = 1, Size = "regnet_z" }.Create(new Normalization(TorchStack.Current, null))).Message;
        foreach (var part in (string[])["model.width: 20", "model.factor: 1", "regnet_z is not known"])
            message.ShouldContain(part);
    }

    private static (string, string)[] Parameters(RegNetOptions o) =>
    [
        ("size", o.Size), ("small_stem", $"{o.SmallStem}"), ("depth", $"{o.Depth}"), ("width", $"{o.Width}"), ("slope", o.Slope.ToString("R", CultureInfo.InvariantCulture)),
        ("factor", o.Factor.ToString("R", CultureInfo.InvariantCulture)), ("group_width", $"{o.GroupWidth}"), ("stem_width", $"{o.StemWidth}"),
    ];

    private static double Difference(Tensor a, Tensor b) => Math.Sqrt(Square(a - b) / Math.Max(Square(b), 1e-30));

    private static double Square(Tensor t) => t.detach().to(ScalarType.Float64).square().sum().item<double>();
}
