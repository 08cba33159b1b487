using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

/// <summary>What every method's energy has in common, with networks that have been trained a little.</summary>
[Collection(TorchCollection.Name)]
public sealed class EnergyRuleTests
{
    private const int Images = SmallMethods.Images;

    /// <summary>
    /// Their energy is the error of a prediction, by another network than the one that is predicted (DINO: in nats, the entropy of the teacher's
    /// distribution and more): of an image with itself it is small only where the prediction is good. All others' is 0 there.
    /// </summary>
    private static readonly string[] Predict = ["byol", "dino", "moco", "moco_v3", "simsiam"];

    [Theory]
    [MemberData(nameof(SmallMethods.Names), MemberType = typeof(SmallMethods))]
    public void Energy_OfTheMethodsOwnViews_IsAsItsDocumentationSays(string name) =>
        ThreadRanks.Run(1, ranks => SmallMethods.Train(name, ranks, [Images], ScalarType.Float64, steps: 3, method =>
        {
            method.Network.eval();
            using var _ = no_grad();
            var views = SmallMethods.Views(name, 0, [Images], ScalarType.Float64, step: 1000)[0];    // PIRL: the view that is an image, alone
            var (x, y) = (views.narrow(0, 0, Images), views.narrow(0, views.shape[0] - Images, Images).roll(1, 0));
            var energy = method.Energy(x, y);
            energy.shape.ShouldBe([Images]);

            var asymmetry = (energy - method.Energy(y, x)).abs().max().item<double>();
            if (method.EnergyIsSymmetric)
                asymmetry.ShouldBeLessThan(1e-9);
            else
                asymmetry.ShouldBeGreaterThan(1e-6, "a matrix of half the pairs would be wrong");

            var same = method.Energy(x, x);
            energy.min().item<double>().ShouldBeGreaterThan(-1e-9);
            same.min().item<double>().ShouldBeGreaterThan(-1e-9);
            if (!Predict.Contains(method.Name))
                same.max().item<double>().ShouldBeLessThan(1e-9, "an image is compatible with itself");

            method.Energy(x.narrow(0, 0, 1), y.narrow(0, 0, 1)).item<double>().ShouldBe(energy[0].item<double>(), 1e-9 * Math.Max(1, energy[0].item<double>()), "one pair alone");
            method.Energy(x, y.narrow(2, 0, 12).narrow(3, 0, 12)).isfinite().all().item<bool>().ShouldBeTrue("views of two sizes");
        }));
}
