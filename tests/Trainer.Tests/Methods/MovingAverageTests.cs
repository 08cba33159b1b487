using DarkMatter.Trainer.Collectives;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Methods;

/// <summary>Target, teacher and key encoder follow what they are averages of: backbone and head, every parameter.</summary>
[Collection(TorchCollection.Name)]
public sealed class MovingAverageTests
{
    /// <summary>m of the first of ten updates, from 0.8: MoCo's stays, BYOL and DINO count from 0, MoCo v3's keys are a step older: 1 − 0.2 (cos(π/10) + 1)/2.</summary>
    [Theory]
    [InlineData("byol", "target_", "projector", 0.8)]
    [InlineData("moco", "key_", "projector", 0.8)]
    [InlineData("moco v1", "key_", "projector", 0.8)]
    [InlineData("moco_v3", "key_", "projector", 0.80489434837048460)]
    [InlineData("dino", "teacher_", "head", 0.8)]
    public void AfterUpdate_TrainedNetworksMoved_FollowersAreTheAverage(string setting, string prefix, string head, double m)
    {
        using var scope = NewDisposeScope();
        using var method = SmallMethods.Create(setting, new SingleRank(1), [SmallMethods.Images], ScalarType.Float64);
        var parameters = method.Network.named_parameters().ToDictionary(p => p.name, p => p.parameter);
        var before = parameters.ToDictionary(p => p.Key, p => SmallMethods.Doubles(p.Value));
        method.Loss(SmallMethods.Views(setting, 0, [SmallMethods.Images], ScalarType.Float64, 0));
        using (no_grad())
        {
            foreach (var (name, parameter) in parameters.Where(p => !p.Key.StartsWith(prefix, StringComparison.Ordinal)))
                parameter.add_(1);
        }

        method.AfterUpdate(step: 1, totalSteps: 10);
        string[] followers = [.. parameters.Keys.Where(name => name.StartsWith(prefix, StringComparison.Ordinal))];
        followers.ShouldBe([.. parameters.Keys.Where(name => name.StartsWith("backbone.", StringComparison.Ordinal) || name.StartsWith($"{head}.", StringComparison.Ordinal)).Select(name => prefix + name)], ignoreOrder: true);
        foreach (var name in followers)
            SmallMethods.Doubles(parameters[name]).ShouldBe([.. before[name].Zip(before[name[prefix.Length..]], (own, followed) => (m * own) + ((1 - m) * (followed + 1)))], 1e-12);
    }
}
