using TorchSharp;
using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DarkMatter.Portable.TorchSharp.Tests;

public sealed class ModuleTests : IDisposable
{
    private readonly DisposeScope scope = NewDisposeScope();

    public void Dispose() => scope.Dispose();

    [Fact]
    public void StateDict_OfNestedModules_HasPyTorchsNamesParametersFirst()
    {
        using var net = new Net();
        net.state_dict().Keys.ShouldBe(
        [
            "scale", "body.0.weight", "body.1.weight", "body.1.bias", "head.last.weight", "head.last.bias",
            "steps", "body.1.running_mean", "body.1.running_var", "body.1.num_batches_tracked",
        ]);
        net.named_buffers().Single(pair => pair.name == "body.1.num_batches_tracked").buffer.dtype.ShouldBe(int64);
        net.named_children().Select(pair => pair.name).ShouldBe(["body", "head"]);
        net.named_modules().Select(pair => pair.name).ShouldBe(["body", "head", "body.0", "body.1", "head.last"]);
        net.get_parameter("head.last.bias")!.shape.ShouldBe([2]);
    }

    [Fact]
    public void LoadStateDict_FromAnotherModule_CopiesEverything()
    {
        using var from = new Net();
        using var to = new Net();
        to.load_state_dict(from.state_dict());
        foreach (var (name, value) in from.state_dict()) to.state_dict()[name].allclose(value).ShouldBeTrue(name);
    }

    [Fact]
    public void LoadStateDict_MissingUnexpectedOrMisshapen_NamesThem()
    {
        using var net = new Net();
        var state = net.state_dict();
        state.Remove("scale");
        state.Add("other", zeros(1));
        var exception = Should.Throw<InvalidOperationException>(() => net.load_state_dict(state));
        exception.Message.ShouldContain("missing [scale]");
        exception.Message.ShouldContain("unexpected [other]");
        var (missing, unexpected) = net.load_state_dict(state, strict: false);
        missing.ShouldBe(["scale"]);
        unexpected.ShouldBe(["other"]);
        state["scale"] = zeros(4);
        Should.Throw<ArgumentException>(() => net.load_state_dict(state, strict: false)).Message.ShouldContain("'scale' has the shape [3], the loaded tensor [4]");
    }

    [Fact]
    public void TrainAndEval_ReachEveryChild_AndSwitchBatchNorm()
    {
        using var norm = nn.BatchNorm1d(2);
        using var net = nn.Sequential(norm);
        var x = tensor(new float[,] { { 1, 2 }, { 3, 6 } });
        net.forward(x);
        norm.running_mean!.data<float>().ToArray().ShouldBe([0.2f, 0.4f], 1e-6);
        ((long)norm.num_batches_tracked!).ShouldBe(1);
        net.eval();
        norm.training.ShouldBeFalse();
        net.forward(x)[0, 0].item<float>().ShouldBe((1 - 0.2f) / MathF.Sqrt(0.9f + 0.1f * 2), 1e-4f);
        ((long)norm.num_batches_tracked!).ShouldBe(1);
        net.train();
        norm.training.ShouldBeTrue();
    }

    [Fact]
    public void To_Double_ConvertsFloatsInPlaceAndKeepsIntegers()
    {
        using var net = new Net();
        var parameter = net.parameters().First();
        net.to(float64);
        parameter.dtype.ShouldBe(float64);
        parameter.requires_grad.ShouldBeTrue();
        net.buffers().Select(buffer => buffer.dtype).Distinct().Order().ShouldBe(new[] { int64, float64 }.Order());
        Should.Throw<ArgumentException>(() => net.to(int64));
    }

    [Fact]
    public void Register_ANameTwiceOrWithADot_Throws()
    {
        using var net = new Net();
        Should.Throw<InvalidOperationException>(() => net.register_module("body", nn.Identity())).Message.ShouldContain("'body'");
        Should.Throw<ArgumentException>(() => net.register_buffer("a.b", zeros(1))).Message.ShouldContain("no dot");
    }

    [Fact]
    public void Initialisation_OfLayers_IsPyTorchsWithinItsBounds()
    {
        manual_seed(1);
        using var linear = nn.Linear(100, 50);
        ((float)linear.weight.abs().max()).ShouldBeInRange(0.09f, 0.1f);
        ((float)linear.bias!.abs().max()).ShouldBeInRange(0.05f, 0.1f);
        var kernel = nn.init.kaiming_normal_(empty(64, 32, 3, 3), mode: nn.init.FanInOut.FanOut, nonlinearity: nn.init.NonlinearityType.ReLU);
        ((float)kernel.std()).ShouldBe(MathF.Sqrt(2f / (64 * 9)), 0.002f);
    }

    [Fact]
    public void ZeroGrad_ToNoneOrToZero()
    {
        using var linear = nn.Linear(2, 1);
        linear.forward(ones(1, 2)).sum().backward();
        linear.zero_grad(set_to_none: false);
        ((float)linear.weight.grad!.abs().sum()).ShouldBe(0);
        linear.zero_grad();
        linear.weight.grad.ShouldBeNull();
    }

    [Fact]
    public void GradSetToAView_IsAccumulatedInPlace()
    {
        using var linear = nn.Linear(2, 1, hasBias: false);
        var bucket = zeros(10);
        linear.weight.grad = bucket.narrow(0, 4, 2).view(1, 2);
        linear.forward(ones(3, 2)).sum().backward();
        bucket.data<float>().ToArray().ShouldBe([0, 0, 0, 0, 3, 3, 0, 0, 0, 0]);
    }

    private sealed class Net : nn.Module<Tensor, Tensor>
    {
        private readonly Parameter scale;
        private readonly Sequential body;
        [ComponentName(Name = "head")] private readonly Sequential classifier;
        private readonly Tensor steps;

        internal Net() : base(nameof(Net))
        {
            scale = nn.Parameter(ones(3));
            body = nn.Sequential(nn.Conv2d(3, 4, 3, bias: false), nn.BatchNorm2d(4));
            classifier = nn.Sequential(("last", nn.Linear(4, 2)));
            steps = tensor(0L);
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => classifier.forward(body.forward(input * scale.view(1, 3, 1, 1)).flatten(1)) + steps;
    }
}
