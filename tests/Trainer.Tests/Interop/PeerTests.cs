using System.Globalization;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Optimizers;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace DarkMatter.Trainer.Tests.Interop;

/// <summary>Loss, optimizers and evaluation give what PyTorch's give.</summary>
[Collection(TorchCollection.Name)]
public sealed class PeerTests
{
    private const int Steps = 4;

    [Theory]
    [InlineData(OptimizerName.Sgd, false, true)]
    [InlineData(OptimizerName.Sgd, true, false)]
    [InlineData(OptimizerName.Lars, false, true)]
    [InlineData(OptimizerName.Lars, false, false)]
    [InlineData(OptimizerName.Larc, false, true)]
    [InlineData(OptimizerName.Larc, false, false)]
    [InlineData(OptimizerName.AdamW, false, true)]
    [InlineData(OptimizerName.AdamW, false, false)]
    public void Optimizer_FourSteps_EqualsThePeers(OptimizerName name, bool nesterov, bool exclude)
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        var options = new OptimizerOptions { Name = name, Nesterov = nesterov, WeightDecay = 0.03, Momentum = 0.8, SquareMomentum = 0.95, TrustCoefficient = 0.05, ExcludeOneDimensional = exclude };
        (string Name, Parameter Parameter)[] parameters = [("w", Parameter(4, 3)), ("b", Parameter(5))];
        var gradients = Enumerable.Range(0, Steps).Select(_ => parameters.Select(p => randn(p.Parameter.shape, dtype: ScalarType.Float64)).ToArray()).ToArray();
        var rates = new Schedule(options with { Warmup = 0.25, FinalWeightDecay = name == OptimizerName.AdamW ? 0.3 : null }, Steps);
        string List(Func<long, double> of) => string.Join(",", Enumerable.Range(0, Steps).Select(t => of(t).ToString("R", CultureInfo.InvariantCulture)));
        var peer = Peer.Ask(
            $"{name}".ToLowerInvariant(),
            parameters.Select(p => ("p." + p.Name, (Tensor)p.Parameter))
                .Concat(gradients.SelectMany((g, t) => parameters.Select((p, i) => ($"g.{t}.{p.Name}", g[i])))),
            ("steps", $"{Steps}"), ("lr", List(rates.At)), ("square_momentum", "0.95"),
            ("momentum", "0.8"), ("nesterov", $"{nesterov}"), ("weight_decay", name == OptimizerName.AdamW ? List(rates.WeightDecayAt) : "0.03"), ("trust_coefficient", "0.05"), ("exclude_one_dimensional", $"{exclude}"));

        using var optimizer = new Optimizer(options, parameters, TorchStack.Current);
        for (var t = 0; t < Steps; t++)
            optimizer.Step(gradients[t], rates.At(t), weightDecay: rates.WeightDecayAt(t));
        foreach (var (parameter, tensor) in parameters)
            Largest(tensor - peer["p." + parameter]).ShouldBeLessThan(1e-13, parameter);
        foreach (var (momentum, tensor) in optimizer.State.Where(s => s.Name != "updates"))
            Largest(tensor - peer[momentum]).ShouldBeLessThan(1e-13, momentum);
    }

    [Fact]
    public void Knn_RandomClusters_EqualsThePeers()
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        var labels = Enumerable.Range(0, 400).Select(i => i % 5).ToArray();
        var bank = randn(400, 6) + (nn.functional.one_hot(tensor(labels.Select(l => (long)l).ToArray()), 6) * 1.5);
        var queries = randn(90, 6) + 0.5;
        var peer = Peer.Ask(
            "knn", [("bank", bank), ("labels", tensor(labels.Select(l => (long)l).ToArray())), ("queries", queries)],
            ("k", "20"), ("temperature", "0.1"), ("classes", "5"));
        new KnnClassifier(new KnnOptions { K = 20, Temperature = 0.1 }).Classify(bank, labels, queries)
            .ShouldBe(peer["predicted"].data<long>().ToArray().Select(c => (int)c));
    }

    private static Parameter Parameter(params long[] shape) => new(randn(shape, dtype: ScalarType.Float64));

    private static double Largest(Tensor difference) => difference.detach().abs().max().item<double>();
}
