using System.Runtime.InteropServices;
using TorchSharp.Portable;
using static TorchSharp.torch;

namespace DarkMatter.Portable.TorchSharp.Tests;

/// <summary>A C++ exception arrives as the official package's exception with its message; a managed one crosses native frames unchanged.</summary>
public sealed class ErrorTests
{
    [Fact]
    public void Operator_WrongShapes_ThrowsWithLibtorchsMessage()
    {
        using var scope = NewDisposeScope();
        var exception = Should.Throw<ExternalException>(() => zeros(3, 4).mm(zeros(3, 4)));
        exception.Message.ShouldBe("mat1 and mat2 shapes cannot be multiplied (3x4 and 3x4)");
    }

    [Fact]
    public void Operator_IndexOutOfRange_Throws()
    {
        using var scope = NewDisposeScope();
        Should.Throw<ExternalException>(() => zeros(3).select(0, 5)).Message.ShouldContain("index 5 out of range");
    }

    [Fact]
    public void Operator_OnADisposedTensor_SaysSo()
    {
        var tensor = zeros(1);
        tensor.Dispose();
        Should.Throw<InvalidOperationException>(() => tensor.add(1)).Message.ShouldBe("Tensor invalid -- empty handle.");
    }

    [Fact]
    public void Operator_AfterAnError_Works()
    {
        using var scope = NewDisposeScope();
        Should.Throw<ExternalException>(() => zeros(2).view(3));
        ((float)ones(2).sum()).ShouldBe(2);
    }

    [Fact]
    public void Backward_Twice_SaysToRetainTheGraph()
    {
        using var scope = NewDisposeScope();
        var loss = ones(2, requires_grad: true).pow(2).sum();
        loss.backward();
        Should.Throw<ExternalException>(() => loss.backward()).Message.ShouldContain("retain_graph");
    }

    [Fact]
    public void FusedBatchNorm_BackwardTwice_SaysToRetainTheGraph()
    {
        using var scope = NewDisposeScope();
        var loss = Kernels.BatchNorm(randn(4, 3).requires_grad_(), null, null, null, null, 0.1, 1e-5, true, null, null).sum();
        loss.backward();
        Should.Throw<ExternalException>(() => loss.backward()).Message.ShouldContain("retain_graph");
    }

    [Fact]
    public void Grad_SetToAnotherShape_Throws()
    {
        using var scope = NewDisposeScope();
        var leaf = zeros(2, requires_grad: true);
        Should.Throw<ExternalException>(() => leaf.grad = zeros(3)).Message.ShouldContain("shape [2] was set to");
    }

    [Fact]
    public void ReadyCallback_Throwing_EndsBackwardWithThatException()
    {
        using var scope = NewDisposeScope();
        var leaf = ones(2, requires_grad: true);
        using var hook = Extras.OnGradientReady([leaf], index => throw new InvalidDataException($"gradient {index}"));
        Should.Throw<InvalidDataException>(() => leaf.sum().backward()).Message.ShouldBe("gradient 0");
    }

    [Fact]
    public void ManagedBackward_Throwing_EndsBackwardWithThatException()
    {
        using var scope = NewDisposeScope();
        var leaf = ones(2, requires_grad: true);
        var exception = Should.Throw<TimeoutException>(() => Failing.apply(leaf).mul(2).sum().backward());
        exception.Message.ShouldBe("a peer did not answer");
        exception.StackTrace!.ShouldContain(nameof(Failing));
    }

    [Fact]
    public void SumOverRanks_Throwing_ReachesTheCallersOfForwardAndBackward()
    {
        using var scope = NewDisposeScope();
        var x = randn(4, 3).requires_grad_();
        Should.Throw<TimeoutException>(() => Kernels.BatchNorm(x, null, null, null, null, 0.1, 1e-5, false, null, _ => throw new TimeoutException("forward")))
            .Message.ShouldBe("forward");
        var calls = 0;
        var y = Kernels.BatchNorm(x, null, null, null, null, 0.1, 1e-5, false, null, _ =>
        {
            if (++calls == 2) throw new TimeoutException("backward");
        });
        Should.Throw<TimeoutException>(() => y.sum().backward()).Message.ShouldBe("backward");
    }

    [Fact]
    public void FromBuffer_BadRange_SaysWhatIsWrong()
    {
        Should.Throw<ArgumentException>(() => frombuffer(new float[4], float32, count: 5)).Message.ShouldBe("frombuffer: 5 elements from offset 0 of an array of 4");
        Should.Throw<ArgumentException>(() => frombuffer(new float[4], float64)).Message.ShouldContain("use from_array");
    }

    [Fact]
    public void Data_OfAnotherType_Throws()
    {
        using var tensor = zeros(2);
        Should.Throw<ArgumentException>(() => tensor.data<double>()).Message.ShouldBe("Double is not compatible with Float32");
    }

    private sealed class Failing : autograd.SingleTensorFunction<Failing>
    {
        public override string Name => nameof(Failing);

        public override Tensor forward(autograd.AutogradContext ctx, params object[] vars) => ((Tensor)vars[0]).clone();

        public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output) => throw new TimeoutException("a peer did not answer");
    }
}
