using DarkMatter.Trainer.Recipes;
using static DarkMatter.Trainer.Tests.Recipes.RecipeText;

namespace DarkMatter.Trainer.Tests.Recipes;

/// <summary>Every malformed recipe has its own message, with the place it is at and the way out.</summary>
public sealed class RecipeProblemsTests
{
    [Theory]
    [InlineData("train:\n  bacth: 256\n", "5:3 unknown key 'bacth': 'train' does not have it; did you mean 'batch'?")]
    [InlineData("optimiser:\n  lr: 1\n", "4:1 unknown key 'optimiser': a recipe does not have it; did you mean 'optimizer'?")]
    [InlineData("train:\n  temperature: 0.1\n", "5:3 unknown key 'temperature': 'train' does not have it; 'temperature' belongs under 'method'")]
    [InlineData("train:\n  seed: 3\n", "5:3 unknown key 'seed': 'train' does not have it; 'seed' belongs to the top of the file")]
    [InlineData("views:\n  - scael: [0.2, 1]\n", "5:5 unknown key 'scael': 'views[0]' does not have it; did you mean 'scale'?")]
    public void Key_Unknown_NearestIsOffered(string yaml, string expected) => OnlyProblem(Minimal + yaml).ShouldBe(expected);

    [Fact]
    public void Key_UnknownAndNothingNear_KnownOnesAreListed() =>
        OnlyProblem(Minimal + "model:\n  zzz: 3\n").ShouldBe("5:3 unknown key 'zzz': 'model' does not have it; it knows backbone, width, stem, zero_init_residual");

    [Theory]
    [InlineData("train:\n  batch: many\n", "5:10 train.batch is 'many', but it must be a whole number, as in 256")]
    [InlineData("train:\n  batch: 2.5\n", "5:10 train.batch is '2.5', but it must be a whole number, as in 256")]
    [InlineData("train:\n  batch: \"256\"\n", "5:10 train.batch is text \"256\", but it must be a whole number, as in 256")]
    [InlineData("train:\n  batch: [256]\n", "5:10 train.batch is a list, but it must be a whole number, as in 8")]
    [InlineData("train:\n  sync_bn: yes\n", "5:12 train.sync_bn is 'yes', but it must be true or false")]
    [InlineData("train:\n  budget: soon\n", "5:11 train.budget is 'soon', but it must be a span of time such as 90s, 5m or 1h30m, or none")]
    [InlineData("optimizer:\n  lr: fast\n", "5:7 optimizer.lr is 'fast', but it must be a number, as in 0.06")]
    [InlineData("optimizer:\n  name: sdg\n", "5:9 optimizer.name is 'sdg', but it must be one of sgd, lars, larc, adamw (did you mean sgd?)")]
    [InlineData("model:\n  backbone: resnet19\n", "5:13 model.backbone is 'resnet19', but it must be one of resnet18, resnet34, resnet50, regnet_y_400mf, regnet_y_800mf, regnet_y_1_6gf, regnet_y_3_2gf, regnet_y_8gf, regnet_y_16gf, regnet_y_32gf, regnet_y_128gf, regnet_y_256gf, regnet_y_10b, regnet_y (did you mean resnet18?)")]
    [InlineData("train: 7\n", "4:8 train is '7', but it must be a section: indented keys below it")]
    [InlineData("views: two\n", "4:8 views is 'two', but it must be a list of 1 to 16 sections, each beginning with '- '")]
    [InlineData("views:\n  - scale: 0.2\n", "5:12 views[0].scale is '0.2', but it must be a list of 2 numbers, as in [0.08, 1]")]
    public void Value_WrongType_SaysWhatIsWanted(string yaml, string expected) => OnlyProblem(Minimal + yaml).ShouldBe(expected);

    [Theory]
    [InlineData("method:\n  temperature: 0\n", "5:16 method.temperature is '0', but it must be more than 0 and at most 10")]
    [InlineData("train:\n  checkpoints_kept: 0\n", "5:21 train.checkpoints_kept is '0', but it must be from 1 to 1000000")]
    [InlineData("evaluation:\n  bank: -1\n", "5:9 evaluation.bank is '-1', but it must be at least 0")]
    [InlineData("views:\n  - scale: [0.9, 0.2]\n", "5:12 views[0].scale is a list, but the first number must not be above the second")]
    [InlineData("views:\n  - flip: .nan\n", "5:11 views[0].flip is '.nan', but it must be a number, as in 0.5")]
    public void Value_OutOfRange_SaysTheRange(string yaml, string expected) => OnlyProblem(Minimal + yaml).ShouldBe(expected);

    [Fact]
    public void Batch_NotDivisibleIntoLanes_SaysWhichValuesWork() =>
        OnlyProblem("name: try\ndata:\n  dataset: images\n  lanes: 16\ntrain:\n  batch: 250\n")
            .ShouldBe("6:10 train.batch is 250, which 16 lanes (data.lanes) cannot share equally; set train.batch to 240 or 256, or data.lanes to 10");

    [Theory]
    [InlineData("data:\n  dataset: images\n", "name is missing; it names the run")]
    [InlineData("name: try\n", "data.dataset is missing")]
    public void Required_Missing_IsNamed(string yaml, string expected) => OnlyProblem(yaml).ShouldContain(expected);

    [Theory]
    [InlineData("local:\n  trainers: 17\n", "at most one trainer per lane, and data.lanes is 16")]
    [InlineData("views:\n  - count: 3\n", "makes 3 views of an image, but simclr compares exactly 2")]
    [InlineData("views:\n  - blur: { probability: 0.5, kernel: 4 }\n", "must be odd, as in 5")]
    [InlineData("evaluation:\n  bank: 100\n", "more neighbours than the 100 images of evaluation.bank")]
    [InlineData("optimizer:\n  name: lars\n  nesterov: true\n", "only sgd has it")]
    [InlineData("checkpoints:\n  store: azure\n", "store is azure, but no container is named")]
    public void Options_ThatDoNotFitTogether_AreNamed(string yaml, string expected) => OnlyProblem(Minimal + yaml).ShouldContain(expected);

    [Fact]
    public void Source_OfTwoKinds_IsRefused() =>
        OnlyProblem("name: try\ndata:\n  dataset: d\n  source: { idx: a, folder: b }\n").ShouldContain("data.source has idx and folder; a dataset comes from one of them");

    [Fact]
    public void Source_SomeImagesOfTars_IsRefused() =>
        OnlyProblem("name: try\ndata:\n  dataset: d\n  source: { tars: a, images: 12 }\n").ShouldContain("data.source.images is 12, but tars are indexed where they are");

    [Fact]
    public void Problems_AllReportedAtOnce_InTheOrderOfTheFile()
    {
        var failure = Fail("""
            name: "bad name!"
            data:
              dataset: images
              lanse: 4
            train:
              batch: lots
              epochs: -1
            nonsense: true
            """);
        failure.Problems.Select(problem => problem.Key).ShouldBe(["name", "data.lanse", "train.batch", "train.epochs", "nonsense"]);
        failure.Message.ShouldStartWith("try.yaml: 5 problems in the recipe");
        failure.Message.ShouldContain("\n  try.yaml:4:3: unknown key 'lanse'");
    }

    [Theory]
    [InlineData("name: [unclosed\n", "this is not valid YAML: ")]
    [InlineData("name: try\nname: again\n", "'name' is given twice (first on line 1); keep one of them")]
    [InlineData("- a\n- b\n", "a recipe is made of keys such as 'name:' and 'train:', but it begins with a list")]
    [InlineData("name: &a try\ndata: {dataset: *a}\n", "anchors and aliases are not used in recipes")]
    [InlineData("name: !!str try\n", "the tag")]
    [InlineData("name: try\n---\nname: two\n", "a recipe is one YAML document")]
    public void Text_NotARecipe_SaysWhy(string yaml, string expected) => OnlyProblem(yaml).ShouldContain(expected);

    [Fact]
    public void Text_NestedTooDeep_IsRefused() =>
        OnlyProblem("name: " + new string('[', 40) + new string(']', 40)).ShouldContain("nested deeper than 16 levels");

    [Theory]
    [InlineData("train.bacth=3", "unknown key 'bacth': 'train' does not have it; did you mean 'batch'?")]
    [InlineData("train.batch", "'train.batch' is not key=value, as in --set train.batch=256")]
    [InlineData("views[3].size=32", "'views[3].size' names an item that the recipe does not have")]
    [InlineData("train.batch=[", "the value of 'train.batch=[' is not valid YAML")]
    [InlineData("name.first=x", "--set: name is a section, but it must be text")]
    public void Set_Wrong_SaysSo(string set, string expected) =>
        Fail(Minimal, set).Message.ShouldContain(expected);

    [Fact]
    public void File_Missing_NearestIsOffered()
    {
        var folder = Directory.CreateTempSubdirectory("recipes");
        try
        {
            File.WriteAllText(Path.Combine(folder.FullName, "simclr.yaml"), Minimal);
            Should.Throw<RecipeException>(() => ResolvedRecipe.Load(Path.Combine(folder.FullName, "simcrl.yaml"))).Message
                .ShouldContain("there is no such file; did you mean simclr.yaml?");
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
