using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Interop;

/// <summary>The networks are torchvision's: same names, same numbers forward and backward, and exports load there.</summary>
[Collection(TorchCollection.Name)]
public sealed class TorchvisionTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("export").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(18, 64, ResNetStem.ImageNet, 32)]
    [InlineData(18, 16, ResNetStem.SmallStride2, 28)]
    [InlineData(34, 8, ResNetStem.Small, 16)]
    [InlineData(50, 8, ResNetStem.Small, 16)]
    public void ForwardAndBackward_SameWeights_EqualTorchvisions(int depth, int width, ResNetStem stem, int size)
    {
        using var scope = NewDisposeScope();
        manual_seed(depth);
        using var net = Network(new ResNetOptions { Depth = depth, Width = width, Stem = stem }).to(ScalarType.Float64);
        var (x, weight) = (randn([8, 3, size, size], dtype: ScalarType.Float64), randn([8, net.Features], dtype: ScalarType.Float64));
        var stemName = stem switch { ResNetStem.ImageNet => "imagenet", ResNetStem.Small => "small", _ => "small_stride2" };
        var peer = Peer.Ask(
            "resnet", net.state_dict().Select(t => ("p." + t.Key, t.Value)).Concat([("x", x), ("weight", weight)]),
            ("backbone", $"resnet{depth}"), ("width", $"{width}"), ("stem", stemName));

        var features = net.call(x);
        (features * weight).sum().backward();
        Difference(features, peer["features"]).ShouldBeLessThan(1e-10);
        foreach (var (name, buffer) in net.named_buffers())
            Difference(buffer, peer["buffer." + name]).ShouldBeLessThan(1e-10, name);
        foreach (var (name, parameter) in net.named_parameters())
            Difference(parameter.grad!, peer["grad." + name]).ShouldBeLessThan(1e-9, name);
        net.eval();
        using var _ = no_grad();
        Difference(net.call(x), peer["evaluated"]).ShouldBeLessThan(1e-10);
    }

    /// <summary>Gradients of single parameters are ill-conditioned in float32 at the start, so all of them count together.</summary>
    [Fact]
    public void ForwardAndBackward_Float32ChannelsLast_StaysNearTorchvisions()
    {
        using var scope = NewDisposeScope();
        manual_seed(4);
        using var net = Network(new ResNetOptions { Width = 16, Stem = ResNetStem.SmallStride2 });
        var (x, weight) = (randn(16, 3, 28, 28), randn(16, net.Features));
        var peer = Peer.Ask(
            "resnet", net.state_dict().Select(t => ("p." + t.Key, t.Value)).Concat([("x", x), ("weight", weight)]),
            ("backbone", "resnet18"), ("width", "16"), ("stem", "small_stride2"));
        var features = net.call(TorchStack.Current.ToChannelsLast(x));
        (features * weight).sum().backward();
        Difference(features, peer["features"]).ShouldBeLessThan(1e-5);
        var difference = net.named_parameters().Sum(p => Square(p.parameter.grad! - peer["grad." + p.name]));
        Math.Sqrt(difference / net.named_parameters().Sum(p => Square(peer["grad." + p.name]))).ShouldBeLessThan(2e-3);
    }

    [Theory]
    [InlineData(18, 64, ResNetStem.ImageNet)]
    [InlineData(18, 16, ResNetStem.SmallStride2)]
    [InlineData(50, 16, ResNetStem.Small)]
    public void Export_LoadedByTheLinesBesideIt_GivesTheSameFeatures(int depth, int width, ResNetStem stem)
    {
        using var scope = NewDisposeScope();
        manual_seed(width);
        using var net = Network(new ResNetOptions { Depth = depth, Width = width, Stem = stem });
        var x = randn(4, 3, 64, 64);
        using (no_grad())
            net.call(randn(16, 3, 64, 64)).Dispose();       // moves the running statistics off their start
        Exports.ShouldGiveTheSameFeatures(net, x, _folder);
    }

    [Fact]
    public void Export_OtherEnding_IsRefused()
    {
        using var net = Network(new ResNetOptions { Width = 8 });
        Should.Throw<ArgumentException>(() => BackboneExport.Write(net, "x.pt", [0, 0, 0], [1, 1, 1], 28)).Message.ShouldContain("ends in .safetensors");
    }

    [Fact]
    public void ZeroInitResidual_MakesEveryBlockTheIdentity()
    {
        using var net = Network(new ResNetOptions { Width = 8, ZeroInitResidual = true });
        foreach (var (name, parameter) in net.named_parameters().Where(p => p.name.EndsWith("bn2.weight", StringComparison.Ordinal)))
            parameter.abs().max().item<float>().ShouldBe(0, name);
        net.get_parameter("bn1.weight")!.min().item<float>().ShouldBe(1);
    }

    private static ResNet Network(ResNetOptions options) => new(options, new Normalization(TorchStack.Current, null));

    /// <summary>‖a − b‖ / ‖b‖.</summary>
    private static double Difference(Tensor a, Tensor b) => Math.Sqrt(Square(a - b) / Math.Max(Square(b), 1e-30));

    private static double Square(Tensor t) => t.detach().to(ScalarType.Float64).square().sum().item<double>();
}
