using DarkMatter.Trainer.Commands;
using DarkMatter.Trainer.Commands.Local;
using DarkMatter.Trainer.Recipes;
using DarkMatter.Trainer.Tests.Recipes;

namespace DarkMatter.Trainer.Tests.Commands;

public sealed class RunFolderTests : IDisposable
{
    private readonly DirectoryInfo root = Directory.CreateTempSubdirectory("runs");
    private readonly ResolvedRecipe recipe = RecipeText.Parse(RecipeText.Minimal);

    private string Folder => Path.Combine(root.FullName, "try");

    [Fact]
    public void Claim_Twice_NamesRunOwnerAndWaysOut()
    {
        using var first = RunFolder.Claim(Folder, "try");
        var failure = Should.Throw<CommandException>(() => RunFolder.Claim(Folder, "try"));
        failure.ExitCode.ShouldBe(ExitCode.BadRequest);
        failure.Message.ShouldContain($"run 'try' is being trained right now by process {Environment.ProcessId}");
        failure.Message.ShouldContain("--run");
    }

    [Fact]
    public void Claim_AfterRelease_Works()
    {
        RunFolder.Claim(Folder, "try").Dispose();
        RunFolder.Claim(Folder, "try").Dispose();
    }

    [Fact]
    public void Claim_WhereAFileStands_SaysSo()
    {
        File.WriteAllText(Folder, "");
        Should.Throw<CommandException>(() => RunFolder.Claim(Folder, "try")).Message.ShouldContain("--output");
    }

    [Fact]
    public void Prepare_SecondTime_AsksForAChoice()
    {
        using var folder = RunFolder.Claim(Folder, "try");
        folder.Prepare("try", recipe, resume: false, overwrite: false).ShouldBe(recipe.Yaml);
        var failure = Should.Throw<CommandException>(() => folder.Prepare("try", recipe, resume: false, overwrite: false));
        failure.Message.ShouldContain("run 'try' exists already");
        failure.Message.ShouldContain("--resume");
        failure.Message.ShouldContain("--overwrite");
    }

    [Fact]
    public void Prepare_Overwrite_DeletesTheRunAndNothingElse()
    {
        using var folder = RunFolder.Claim(Folder, "try");
        folder.Prepare("try", recipe, resume: false, overwrite: false);
        Directory.CreateDirectory(Path.Combine(Folder, "checkpoints", "5"));
        File.WriteAllText(Path.Combine(Folder, "mine.txt"), "keep");
        folder.Prepare("try", recipe, resume: false, overwrite: true);
        Directory.Exists(Path.Combine(Folder, "checkpoints")).ShouldBeFalse();
        File.Exists(Path.Combine(Folder, "mine.txt")).ShouldBeTrue();
    }

    [Fact]
    public void Prepare_ResumeWithAChangedRecipe_NamesTheKeys()
    {
        using var folder = RunFolder.Claim(Folder, "try");
        folder.Prepare("try", recipe, resume: false, overwrite: false);
        var changed = RecipeText.Parse(RecipeText.Minimal, "optimizer.lr=0.5", "model.width=32", "local.trainers=3");
        var failure = Should.Throw<CommandException>(() => folder.Prepare("try", changed, resume: true, overwrite: false));
        failure.ExitCode.ShouldBe(ExitCode.BadRequest);
        failure.Message.ShouldContain("its recipe changed");
        failure.Message.ShouldContain("model.width: 64 -> 32\n");
        failure.Message.ShouldContain("optimizer.lr: 0.06 -> 0.5\n");
        failure.Message.ShouldNotContain("local.trainers");
    }

    [Fact]
    public void Prepare_ResumeWithMoreTrainers_KeepsTheOriginalRecipe()
    {
        using var folder = RunFolder.Claim(Folder, "try");
        folder.Prepare("try", recipe, resume: false, overwrite: false);
        folder.Prepare("try", RecipeText.Parse(RecipeText.Minimal, "local.trainers=3"), resume: true, overwrite: false).ShouldBe(recipe.Yaml);
    }

    [Fact]
    public void Prepare_ResumeOfNothing_SaysSo()
    {
        using var folder = RunFolder.Claim(Folder, "try");
        Should.Throw<CommandException>(() => folder.Prepare("try", recipe, resume: true, overwrite: false)).Message.ShouldContain("there is no run 'try' to resume");
    }

    [Fact]
    public async Task Claim_WaitsForChildrenOfAKilledOwner()
    {
        RunFolder.Claim(Folder, "try").Dispose();
        var child = RunFolder.BePresent(Folder);
        var other = RunFolder.BePresent(Folder);
        var claim = Task.Run(() => RunFolder.Claim(Folder, "try"));
        (await Task.WhenAny(claim, Task.Delay(400))).ShouldNotBe(claim);
        child.Dispose();
        other.Dispose();
        (await claim.WaitAsync(TimeSpan.FromSeconds(15))).Dispose();
    }

    public void Dispose() => root.Delete(recursive: true);
}
