using DarkMatter.Trainer.Certificates;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Certificates;

/// <summary>What the certificate calls an error.</summary>
[Collection(TorchCollection.Name)]
public sealed class SnapshotTests
{
    [Fact]
    public void Errors_SmallTensor_IsMeasuredAgainstTheLargestOfItsKindAndNoOther()
    {
        using var one = new Snapshot(Named(("w", "parameter", tensor([3.0, 4.0])), ("b", "parameter", tensor([0.0])), ("z", "z", tensor([1e6]))));
        var errors = one.Errors(Named(("w", "parameter", tensor([3.0, 4.5])), ("b", "parameter", tensor([1e-3])), ("z", "z", tensor([1e6]))));
        errors.Select(e => (e.Name, Math.Round(e.Error, 9))).ShouldBe([("w", 0.1), ("b", 0.02), ("z", 0)]);    // 0.5/5; 1e-3/(5/100)
    }

    [Fact]
    public void Errors_WholeNumbers_AreThePartThatDiffersAndNoFloor()
    {
        using var one = new Snapshot(Named(("assignments", "rows", tensor([900L, 2L, 3L, 4L])), ("row", "rows", tensor([1e-3]))));
        var errors = one.Errors(Named(("assignments", "rows", tensor([900L, 2L, 3L, 5L])), ("row", "rows", tensor([1.5e-3]))));
        errors.Select(e => Math.Round(e.Error, 9)).ShouldBe([0.25, 0.5]);
    }

    [Theory]
    [InlineData(double.NaN, 1.0)]
    [InlineData(1.0, double.NaN)]
    [InlineData(double.NaN, double.NaN)]
    [InlineData(double.PositiveInfinity, double.PositiveInfinity)]
    public void Errors_NumberThatIsNone_IsInfinite(double one, double many)
    {
        using var kept = new Snapshot(Named(("w", "parameter", tensor([one, 2.0])), ("v", "parameter", tensor([5.0]))));
        kept.Errors(Named(("w", "parameter", tensor([many, 2.0])), ("v", "parameter", tensor([5.0]))))[0].Error.ShouldBe(double.PositiveInfinity);
    }

    [Fact]
    public void Errors_OtherTensors_AreRefusedAndNamed()
    {
        using var one = new Snapshot(Named(("w", "parameter", tensor([1.0, 2.0]))));
        Should.Throw<InvalidOperationException>(() => one.Errors([])).Message.ShouldContain("1 tensors, the other 0");
        Should.Throw<InvalidOperationException>(() => one.Errors(Named(("v", "parameter", tensor([1.0, 2.0]))))).Message.ShouldContain("'w'");
        Should.Throw<InvalidOperationException>(() => one.Errors(Named(("w", "parameter", tensor([1.0]))))).Message.ShouldContain("[2]");
    }

    private static NamedTensor[] Named(params (string Name, string Kind, Tensor Tensor)[] tensors) => [.. tensors.Select(t => new NamedTensor(t.Name, t.Kind, t.Tensor))];
}
