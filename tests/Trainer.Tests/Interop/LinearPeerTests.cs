using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Tests.Evaluation;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Interop;

/// <summary>The linear probe's minimum is the one that PyTorch's optimizer finds for the same features.</summary>
[Collection(TorchCollection.Name)]
public sealed class LinearPeerTests
{
    [Theory]
    [InlineData("0.1", 0.1)]
    [InlineData("0.001", 0.001)]
    public void Fit_SameFeatures_HasThePeersWeightsAndScores(string option, double decay)
    {
        using var scope = NewDisposeScope();
        var ((x, labels), (test, _)) = (LinearProbeTests.Clouds(90, seed: 6), LinearProbeTests.Clouds(30, seed: 7));
        var classes = tensor(labels.Select(l => (long)l).ToArray());
        var peer = Peer.Ask("linear", [("features", x), ("labels", classes), ("test", test)], ("decay", option), ("classes", "3"));

        // The peer's b is free, the probe's almost: 1e-6 of a pull moves it, and with it W, in the fifth decimal.
        var model = LinearProbe.Fit(x, labels, 3, decay, tolerance: 1e-10);
        (model.Weights.narrow(1, 0, 5) - peer["weights"]).abs().max().item<double>().ShouldBeLessThan(1e-4);
        var scores = ((test - model.Mean) / model.Deviation).matmul(model.Weights.narrow(1, 0, 5).t()) + model.Weights.narrow(1, 5, 1).t();
        (scores - scores.mean([1], keepdim: true) - peer["scores"]).abs().max().item<double>().ShouldBeLessThan(1e-3);
    }
}
