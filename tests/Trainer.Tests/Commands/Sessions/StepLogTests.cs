using DarkMatter.Trainer.Commands.Sessions;
using DarkMatter.Trainer.Training;

namespace DarkMatter.Trainer.Tests.Commands.Sessions;

public sealed class StepLogTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("steplog").FullName;

    private string File => Path.Combine(_folder, "steps.csv");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Open_AfterAnotherRankZeroDied_FillsTheRowsItCouldNotWrite()
    {
        Write(1..4);
        System.IO.File.AppendAllText(File, "4,1.0,0.");                           // it died in the middle of a row
        using (var log = StepLog.Open(File, startStep: 6, ReportsOf(1..7)))
            log.Write(Reports.Of(7));
        Steps().ShouldBe([1, 2, 3, 4, 5, 6, 7]);
    }

    [Fact]
    public void Open_AtAnEarlierStep_CutsWhatWillBeRepeated()
    {
        Write(1..10);
        using (var log = StepLog.Open(File, startStep: 5, ReportsOf(1..10)))
            log.Write(Reports.Of(6));
        Steps().ShouldBe([1, 2, 3, 4, 5, 6]);
    }

    [Fact]
    public void Open_WhereItEnded_OnlyAppends()
    {
        Write(1..10);
        var before = System.IO.File.ReadAllText(File);
        StepLog.Open(File, startStep: 9, ReportsOf(1..10)).Dispose();
        System.IO.File.ReadAllText(File).ShouldBe(before);
    }

    [Fact]
    public void Open_OfANewRun_HasOnlyTheHeader()
    {
        Write(1..10);
        StepLog.Open(File, startStep: 0).Dispose();
        System.IO.File.ReadAllLines(File).ShouldBe([StepLog.Header]);
    }

    private void Write(Range steps)
    {
        using var log = StepLog.Open(File, startStep: 0);
        foreach (var report in ReportsOf(steps))
            log.Write(report);
    }

    private IEnumerable<long> Steps() => StepLog.Read(File).Select(row => row.Step);

    private static IEnumerable<StepReport> ReportsOf(Range steps) =>
        Enumerable.Range(steps.Start.Value, steps.End.Value - steps.Start.Value).Select(step => Reports.Of(step));
}
