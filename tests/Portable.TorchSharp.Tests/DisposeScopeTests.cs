using TorchSharp;
using static TorchSharp.torch;

namespace DarkMatter.Portable.TorchSharp.Tests;

public sealed class DisposeScopeTests
{
    [Fact]
    public void Scope_OnDispose_DisposesWhatWasMadeInIt()
    {
        using var outside = zeros(1);
        Tensor inside;
        using (var scope = NewDisposeScope())
        {
            inside = outside + 1;
            scope.DisposablesCount.ShouldBe(1);
            scope.Contains(inside).ShouldBeTrue();
        }
        inside.IsInvalid.ShouldBeTrue();
        outside.IsInvalid.ShouldBeFalse();
    }

    [Fact]
    public void MoveToOuter_FromNestedScopes_GoesOneScopeAtATime()
    {
        Tensor tensor;
        using (var outer = NewDisposeScope())
        {
            using (var inner = NewDisposeScope()) tensor = zeros(1).MoveToOuterDisposeScope();
            tensor.IsInvalid.ShouldBeFalse();
            outer.Contains(tensor).ShouldBeTrue();
            CurrentDisposeScope.ShouldBe(outer);
        }
        tensor.IsInvalid.ShouldBeTrue();
        CurrentDisposeScope.ShouldBeNull();
    }

    [Fact]
    public void MoveToOuter_WithoutOuterScope_Detaches()
    {
        Tensor tensor;
        using (NewDisposeScope()) tensor = zeros(1).MoveToOuterDisposeScope();
        tensor.IsInvalid.ShouldBeFalse();
        tensor.Dispose();
    }

    [Fact]
    public void Detach_AndAttach_DecideWhoDisposes()
    {
        Tensor kept, given;
        var free = zeros(1);
        using (var scope = NewDisposeScope())
        {
            kept = zeros(1).DetachFromDisposeScope();
            given = free.MoveToOtherDisposeScope(scope);
        }
        kept.IsInvalid.ShouldBeFalse();
        given.IsInvalid.ShouldBeTrue();
        kept.Dispose();
    }

    [Fact]
    public void DisposeEverythingBut_KeepsTheNamed()
    {
        using var scope = NewDisposeScope();
        var (kept, gone) = (zeros(1), zeros(1));
        scope.DisposeEverythingBut(kept);
        kept.IsInvalid.ShouldBeFalse();
        gone.IsInvalid.ShouldBeTrue();
    }

    [Fact]
    public void Scope_DisposedOutOfOrder_LeavesTheInnerOneCurrent()
    {
        var outer = NewDisposeScope();
        var inner = NewDisposeScope();
        outer.Dispose();
        CurrentDisposeScope.ShouldBe(inner);
        inner.Dispose();
        CurrentDisposeScope.ShouldBeNull();
    }

    [Fact]
    public void Statistics_CountWhatHappened()
    {
        var statistics = DisposeScopeManager.Statistics;
        statistics.Reset();
        var outside = zeros(1);
        using (var scope = NewDisposeScope())
        {
            _ = zeros(1);
            var detached = zeros(1).DetachFromDisposeScope();
            scope.Attach(outside);
            zeros(1).Dispose();
            statistics.CreatedOutsideScopeCount.ShouldBe(1);
            statistics.CreatedInScopeCount.ShouldBe(3);
            statistics.DetachedFromScopeCount.ShouldBe(1);
            statistics.AttachedToScopeCount.ShouldBe(1);
            statistics.DisposedInScopeCount.ShouldBe(1);
            detached.Dispose();
            statistics.DisposedOutsideScopeCount.ShouldBe(1);
        }
        statistics.ThreadTotalLiveCount.ShouldBe(0);
        statistics.DisposedInScopeCount.ShouldBe(3);
    }

    [Fact]
    public void Parameter_TakesItsDatasPlaceInTheScope()
    {
        using var scope = NewDisposeScope();
        var data = zeros(2);
        var parameter = nn.Parameter(data);
        data.IsInvalid.ShouldBeTrue();
        scope.Contains(parameter).ShouldBeTrue();
        scope.DisposablesCount.ShouldBe(1);
        parameter.requires_grad.ShouldBeTrue();
    }
}
