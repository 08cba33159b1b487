using DarkMatter.Data;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Commands;
using DarkMatter.Trainer.Commands.Local;
using DarkMatter.Trainer.Commands.Reports;
using DarkMatter.Trainer.Evaluation;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Recipes;
using DarkMatter.Trainer.Stack;
using DarkMatter.Trainer.Tests.Evaluation;
using DarkMatter.Trainer.Tests.Training;
using DarkMatter.Trainer.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Commands.Reports;

[Collection(TorchCollection.Name)]
public sealed class EncoderEvaluationTests : IDisposable
{
    private const int Size = 16;

    private static readonly Recipe Recipe = new()
    {
        Model = new ResNetOptions { Width = 8, Stem = ResNetStem.SmallStride2 },
        Views = [new ViewGroup { View = new ViewRecipe { Size = Size } }],
        Train = new LengthOptions { Precision = Precision.Float32 },
        Evaluation = new EvaluationOptions { Knn = new KnnOptions { K = 10 } },
    };

    private readonly string _folder = Directory.CreateTempSubdirectory("evaluation").FullName;
    private readonly StringWriter _said = new();

    public void Dispose()
    {
        _said.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Run_ClassesThatBrightnessTells_BeatsChanceTwiceTheSame()
    {
        var (bank, queries) = (await SmallDataset.PackAsync(_folder, "bank", 300, Size, seed: 1), await SmallDataset.PackAsync(_folder, "queries", 60, Size, seed: 2));
        var scores = Run(bank, queries, linear: true);
        (scores.Bank, scores.Queries).ShouldBe((300, 60));
        scores.Accuracy.ShouldBeGreaterThan(0.6, "an untrained network keeps brightness; chance is a third");
        scores.RawPixelAccuracy.ShouldBeGreaterThan(0.6);
        scores.Linear.ShouldNotBeNull().Accuracy.ShouldBeGreaterThan(0.6);
        _said.ToString().ShouldContain("evaluating: features of the bank, 300 of 300");
        _said.ToString().ShouldContain("evaluating: features of the queries, 60 of 60");
        Run(bank, queries).ShouldBe(scores with { Linear = null });
    }

    [Fact]
    public async Task Run_MoreNeighboursThanImages_SaysSo()
    {
        var few = await SmallDataset.PackAsync(_folder, "few", 9, Size, seed: 1);
        var refused = Should.Throw<CommandException>(() => Run(few, few));
        refused.ExitCode.ShouldBe(ExitCode.BadRequest);
        refused.Message.ShouldContain("evaluation.knn.k is 10");
        refused.Message.ShouldContain("has only 9 images");
    }

    [Fact]
    public async Task Run_Cancelled_Stops()
    {
        var some = await SmallDataset.PackAsync(_folder, "some", 12, Size, seed: 1);
        Should.Throw<OperationCanceledException>(() => Run(some, some, stop: new CancellationToken(canceled: true)));
    }

    private EncoderScores Run(string bank, string queries, bool linear = false, CancellationToken stop = default)
    {
        var path = Path.Combine(_folder, "encoder.safetensors");
        manual_seed(1);
        using (var net = new ResNet((ResNetOptions)Recipe.Model, new Normalization(TorchStack.Current, null)))
            BackboneExport.Write(net, path, [0.5f, 0.5f, 0.5f], [0.25f, 0.25f, 0.25f], Size);
        return new EncoderEvaluation(Recipe, new Output(_said, live: false, TimeSpan.Zero)).Run([path], bank, queries, limit: null, stop, linear);
    }
}
