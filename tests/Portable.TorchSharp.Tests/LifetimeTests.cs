using TorchSharp.Portable;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace DarkMatter.Portable.TorchSharp.Tests;

/// <summary>Counts are of the whole process, so these tests run alone.</summary>
[CollectionDefinition(nameof(LifetimeTests), DisableParallelization = true)]
[Collection(nameof(LifetimeTests))]
public sealed class LifetimeTests
{
    [Fact]
    public void TrainingSteps_AThousand_LeaveNoNativeTensor()
    {
        manual_seed(3);
        var network = nn.Sequential(
            ("conv", nn.Conv2d(3, 4, 3, padding: 1, bias: false)), ("norm", nn.BatchNorm2d(4)), ("relu", nn.ReLU()),
            ("pool", nn.AdaptiveAvgPool2d(1)), ("flat", nn.Flatten()), ("linear", nn.Linear(4, 3)));
        var parameters = network.parameters().ToArray();
        var momenta = parameters.Select(parameter => parameter.zeros_like()).ToArray();
        double[] decay = [.. parameters.Select(_ => 1e-4)];
        using var classes = tensor(new long[] { 0, 1, 2, 1 });
        var ready = 0;
        using var hook = Extras.OnGradientReady(parameters, _ => ready++);

        void Step()
        {
            using var scope = NewDisposeScope();
            foreach (var parameter in parameters) parameter.grad = null;
            Tensor logits;
            using (Extras.Autocast(true)) logits = network.forward(randn(4, 3, 5, 5));
            var loss = F.cross_entropy(Doubled.apply(logits.to(float32)), classes);
            loss.backward();
            Kernels.Descend(parameters, [.. parameters.Select(parameter => parameter.grad!)], momenta, decay, [], 0, 0.01, 0.9, false);
            loss.item<float>().ShouldBeInRange(0, 100);
        }

        for (var i = 0; i < 5; i++) Step();
        var (native, managed) = (Settled(), Tensor.TotalCount);
        for (var i = 0; i < 1000; i++) Step();

        Extras.LiveNativeTensors.ShouldBe(native);
        Tensor.TotalCount.ShouldBe(managed);
        ready.ShouldBe(1005 * parameters.Length);
        foreach (var tensor in momenta) tensor.Dispose();
        network.Dispose();
    }

    [Fact]
    public void Finalizer_OfAForgottenTensor_ReleasesIt()
    {
        var before = Settled();
        Forget(100);
        for (var i = 0; i < 10 && Extras.LiveNativeTensors > before; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        Extras.LiveNativeTensors.ShouldBe(before);
    }

    [Fact]
    public void FromBuffer_SharesTheArray_AndUnpinsItWithTheLastTensor()
    {
        var (reference, native) = Share();
        for (var i = 0; i < 10 && reference.IsAlive; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        reference.IsAlive.ShouldBeFalse();
        Extras.LiveNativeTensors.ShouldBe(native);
    }

    [Fact]
    public void LargeTensors_MadeAndReleased_KeepTheirValues()
    {
        // Blocks of 2 MiB and above are kept and given out again: each tensor must own its own.
        using var scope = NewDisposeScope();
        for (var round = 0; round < 3; round++)
        {
            var tensors = Enumerable.Range(0, 8).Select(i => full(1_000_000 + 50_000 * i, (float)i)).ToArray();
            for (var i = 0; i < tensors.Length; i++) ((float)tensors[i].min()).ShouldBe(i);
            for (var i = 0; i < tensors.Length; i++) ((float)tensors[i].max()).ShouldBe(i);
            foreach (var tensor in tensors) tensor.Dispose();
        }
    }

    /// <summary>The count once what other tests forgot is gone.</summary>
    private static long Settled()
    {
        for (var i = 0; i < 3; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        return Extras.LiveNativeTensors;
    }

    [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
    private static void Forget(int count)
    {
        for (var i = 0; i < count; i++) zeros(2);
    }

    [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
    private static (WeakReference, long) Share()
    {
        var native = Settled();
        var array = new float[6];
        using (var shared = frombuffer(array, float32, count: 4, offset: 1))
        using (var part = shared.narrow(0, 1, 2))
        {
            part.fill_(3);
            array[4] = 7;
            array.ShouldBe([0, 0, 3, 3, 7, 0]);
            shared.data<float>().ToArray().ShouldBe([0, 3, 3, 7]);
        }
        return (new(array), native);
    }

    private sealed class Doubled : autograd.SingleTensorFunction<Doubled>
    {
        public override string Name => nameof(Doubled);

        public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
        {
            var result = ((Tensor)vars[0]) * 2;
            ctx.save_for_backward([(Tensor)vars[0], result]);
            return result;
        }

        public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
        {
            ctx.get_saved_variables().Count.ShouldBe(2);
            return [grad_output * 2];
        }
    }
}
