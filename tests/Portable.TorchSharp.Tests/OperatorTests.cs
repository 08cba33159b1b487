using System.Text.Json;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace DarkMatter.Portable.TorchSharp.Tests;

/// <summary>Every operator against what python3-torch answered (fixtures.py wrote it down).</summary>
public sealed class OperatorTests
{
    private static readonly JsonElement Fixtures = Read();

    private static readonly Dictionary<string, Func<Inputs, Tensor>> Cases = new()
    {
        ["add"] = i => i["a"] + i["b"],
        ["add alpha"] = i => i["a"].add(i["b"], 0.5),
        ["add scalar"] = i => i["a"] + 2,
        ["sub"] = i => i["a"] - i["b"],
        ["rsub"] = i => 3 - i["a"],
        ["mul"] = i => i["a"] * i["b"],
        ["div"] = i => i["a"] / i["b"],
        ["rdiv"] = i => 2 / i["a"],
        ["neg"] = i => -i["a"],
        ["remainder"] = i => i["a"] % 0.7,
        ["floor_divide"] = i => i["a"].floor_divide(0.3),
        ["pow"] = i => i["positive"].pow(1.5),
        ["pow tensor"] = i => i["positive"].pow(i["b"]),
        ["abs"] = i => i["a"].abs(),
        ["exp"] = i => i["a"].exp(),
        ["expm1"] = i => i["a"].expm1(),
        ["log"] = i => i["positive"].log(),
        ["log1p"] = i => i["positive"].log1p(),
        ["log2"] = i => i["positive"].log2(),
        ["sqrt"] = i => i["positive"].sqrt(),
        ["rsqrt"] = i => i["positive"].rsqrt(),
        ["reciprocal"] = i => i["a"].reciprocal(),
        ["sin"] = i => i["a"].sin(),
        ["cos"] = i => i["a"].cos(),
        ["tanh"] = i => i["a"].tanh(),
        ["sigmoid"] = i => i["a"].sigmoid(),
        ["erf"] = i => i["a"].erf(),
        ["floor"] = i => i["a"].floor(),
        ["ceil"] = i => i["a"].ceil(),
        ["round"] = i => i["a"].round(),
        ["trunc"] = i => i["a"].trunc(),
        ["sign"] = i => i["a"].sign(),
        ["relu"] = i => i["a"].relu(),
        ["gelu"] = i => i["a"].gelu(),
        ["silu"] = i => i["a"].silu(),
        ["square"] = i => i["a"].square(),
        ["clamp"] = i => i["a"].clamp(-0.5, 0.5),
        ["clamp min"] = i => i["a"].clamp(min: 0.1),
        ["clamp_min"] = i => i["a"].clamp_min(0.2),
        ["clamp_max"] = i => i["a"].clamp_max(0.2),
        ["maximum"] = i => maximum(i["a"], i["b"]),
        ["minimum"] = i => minimum(i["a"], i["b"]),
        ["addcmul"] = i => i["a"].addcmul(i["b"], i["b"], 0.3),
        ["addcdiv"] = i => i["a"].addcdiv(i["b"], i["positive"], 0.3),
        ["lerp"] = i => i["a"].lerp(i["b"], i["positive"]),
        ["mm"] = i => i["a"].mm(i["m"]),
        ["matmul"] = i => i["batch"].matmul(i["m"]),
        ["bmm"] = i => i["batch"].bmm(i["batch2"]),
        ["mv"] = i => i["a"].mv(i["v"]),
        ["dot"] = i => i["v"].dot(i["w"]),
        ["outer"] = i => i["v"].outer(i["w"]),
        ["addmm"] = i => i["s"].addmm(i["s"], i["s"], beta: 0.5f, alpha: 2),
        ["einsum"] = i => einsum("ij,kj->ik", i["a"], i["b"]),
        ["softmax"] = i => F.softmax(i["a"], 1),
        ["log_softmax"] = i => F.log_softmax(i["a"], 0),
        ["logsumexp"] = i => logsumexp(i["a"], 1),
        ["cumsum"] = i => i["a"].cumsum(1),
        ["eq"] = i => i["a"].eq(i["a"]),
        ["lt"] = i => i["a"] < i["b"],
        ["ge"] = i => i["a"] >= 0,
        ["gt reversed"] = i => 0.1 > i["a"],
        ["logical"] = i => (i["a"] > 0).logical_and(i["b"] > 0).logical_or((i["a"] > 0).logical_not()),
        ["isfinite"] = i => (i["a"] / 0).isfinite(),
        ["isnan"] = i => (i["a"] * double.NaN).isnan(),
        ["all"] = i => (i["a"] > -9).all(),
        ["any dim"] = i => (i["a"] > 0.5).any(1),
        ["where"] = i => where(i["a"] > 0, i["a"], i["b"]),
        ["masked_fill"] = i => i["a"].masked_fill(i["a"] > 0, -1),
        ["masked_select"] = i => i["a"].masked_select(i["a"] > 0),
        ["nonzero"] = i => (i["a"] > 0).nonzero(),
        ["sum"] = i => i["a"].sum(),
        ["sum dim"] = i => i["a"].sum(1),
        ["sum dims"] = i => i["batch"].sum([0, 2], keepdim: true),
        ["mean"] = i => i["a"].mean(),
        ["mean dims"] = i => i["batch"].mean([1, 2]),
        ["std"] = i => i["a"].std(),
        ["std dim"] = i => i["a"].std(0, unbiased: false),
        ["var"] = i => i["a"].var(),
        ["var dim"] = i => i["a"].var(1),
        ["prod"] = i => i["a"].prod(),
        ["max"] = i => i["a"].max(),
        ["max dim"] = i => i["a"].max(1).values,
        ["max index"] = i => i["a"].max(1).indexes,
        ["min"] = i => i["a"].min(),
        ["min dim"] = i => i["a"].min(0).values,
        ["amax"] = i => i["a"].amax(1),
        ["argmax"] = i => i["a"].argmax(),
        ["argmax dim"] = i => i["a"].argmax(1),
        ["argmin dim"] = i => i["a"].argmin(0),
        ["argsort"] = i => i["a"].argsort(1, descending: true),
        ["sort"] = i => i["a"].sort(1, descending: true).Values,
        ["topk"] = i => i["a"].topk(2, 1).values,
        ["topk index"] = i => i["a"].topk(2, 1).indexes,
        ["norm"] = i => i["a"].norm(),
        ["norm dim"] = i => i["a"].norm(1, keepdim: true),
        ["bincount"] = i => i["counts"].bincount(null, 6),
        ["trace"] = i => i["s"].trace(),
        ["median"] = i => i["a"].median(),
        ["view"] = i => i["a"].view(2, 6),
        ["reshape"] = i => i["a"].t().reshape(2, -1),
        ["flatten"] = i => i["batch"].flatten(1),
        ["transpose"] = i => i["batch"].transpose(0, 2),
        ["permute"] = i => i["batch"].permute(2, 0, 1),
        ["expand"] = i => i["v"].expand(3, 4),
        ["repeat"] = i => i["v"].repeat(2, 2),
        ["repeat_interleave"] = i => i["v"].repeat_interleave(2, 0),
        ["narrow"] = i => i["a"].narrow(1, 1, 2),
        ["slice"] = i => i["a"].slice(1, 0, 4, 2),
        ["select"] = i => i["a"].select(1, 2),
        ["flip"] = i => i["a"].flip(1),
        ["roll"] = i => i["a"].roll(1, 0),
        ["diagonal"] = i => i["s"].diagonal(),
        ["diag"] = i => i["v"].diag(),
        ["tril"] = i => i["s"].tril(),
        ["triu"] = i => i["s"].triu(1),
        ["chunk"] = i => i["a"].chunk(2, 1)[1],
        ["split"] = i => i["a"].split(2, 0)[1],
        ["unbind"] = i => i["a"].unbind(0)[2],
        ["cat"] = i => cat([i["a"], i["b"]], 1),
        ["stack"] = i => stack([i["a"], i["b"]]),
        ["to int"] = i => i["a"].to(int64),
        ["to bfloat16"] = i => i["a"].to(bfloat16).to(float32),
        ["index number"] = i => i["a"][1, 2],
        ["index range"] = i => i["a"][1.., ^2..],
        ["index new axis"] = i => i["a"][TensorIndex.Colon, TensorIndex.None, TensorIndex.Single(1)],
        ["index ellipsis"] = i => i["batch"][TensorIndex.Ellipsis, 1],
        ["index tensor"] = i => i["a"][i["index"]],
        ["index tensor in second"] = i => i["a"][TensorIndex.Colon, TensorIndex.Tensor(i["index"])],
        ["index mask"] = i => i["a"][i["a"] > 0],
        ["index_select"] = i => i["a"].index_select(0, i["index"]),
        ["gather"] = i => i["a"].gather(1, i["columns"]),
        ["scatter"] = i => zeros(3, 4).scatter(1, i["columns"], i["a"]),
        ["scatter_add"] = i => zeros(3, 4).scatter_add_(1, i["columns"], i["a"]),
        ["index_add"] = i => zeros(3, 4).index_add_(0, i["index"], i["a"][..2], 2),
        ["arange"] = _ => arange(1, 7, 2),
        ["linspace"] = _ => linspace(0, 1, 5),
        ["eye"] = _ => eye(3, 2),
        ["full"] = _ => full(2, 2, 3.5),
        ["linear"] = i => F.linear(i["a"], i["weight5"]),
        ["conv2d"] = i => F.conv2d(i["image"], i["kernel"], i["bias"], [2, 2], [1, 1]),
        ["batch_norm"] = i => F.batch_norm(i["image"], null, null, i["gamma"], i["beta"], training: true),
        ["max_pool2d"] = i => F.max_pool2d(i["image"], 3, 2, 1),
        ["adaptive_avg_pool2d"] = i => F.adaptive_avg_pool2d(i["image"], 2),
        ["normalize"] = i => F.normalize(i["a"], dim: 1),
        ["cross_entropy"] = i => F.cross_entropy(i["a"], i["classes"]),
        ["cross_entropy sum"] = i => F.cross_entropy(i["a"], i["classes"], reduction: nn.Reduction.Sum, label_smoothing: 0.1),
        ["mse_loss"] = i => F.mse_loss(i["a"], i["b"]),
        ["one_hot"] = i => F.one_hot(i["classes"], 4),
        ["svdvals"] = i => linalg.svdvals(i["a"]),
        ["eigvalsh"] = i => linalg.eigvalsh(i["s"].mm(i["s"].t())),
        ["vector_norm"] = i => linalg.vector_norm(i["a"], 3.0),
        ["cholesky"] = i => linalg.cholesky(i["s"].mm(i["s"].t())),
        ["cholesky_solve"] = i => i["m"].cholesky_solve(linalg.cholesky(i["s"].mm(i["s"].t()))),
        ["gradient of mm"] = i => i.Gradients(t => t[0].mm(t[1]).tanh().sum(), "a", "m"),
        ["gradient of a network"] = i => i.Gradients(
            t =>
            {
                var y = F.batch_norm(t[0], null, null, t[2], t[3], training: true);
                y = F.relu(F.conv2d(y, t[1], strides: [2, 2], padding: [1, 1]));
                return F.adaptive_avg_pool2d(y, 1).pow(2).sum();
            },
            "image", "kernel", "gamma", "beta"),
        ["gradient of cross entropy"] = i => i.Gradients(t => F.cross_entropy(F.normalize(t[0], dim: 1) / 0.2, i["classes"]), "a"),
        ["gradient of indexing"] = i => i.Gradients(
            t => (t[0][TensorIndex.Colon, 1] * t[0][0, 2] + t[0].gather(1, i["columns"]).sum(1)).pow(2).sum(), "a"),
        ["randn after manual_seed"] = _ => Seeded(() => randn(20), skip: []),
        ["rand after manual_seed"] = _ => Seeded(() => rand(5), skip: [() => randn(20)]),
        ["randperm after manual_seed"] = _ => Seeded(() => randperm(9), skip: [() => randn(20), () => rand(5)]),
    };

    public static TheoryData<string> Names() => [.. Cases.Keys];

    [Fact]
    public void Cases_AreThoseOfTheFixtures() =>
        Fixtures.GetProperty("cases").EnumerateObject().Select(value => value.Name).Order().ShouldBe(Cases.Keys.Order());

    [Theory]
    [MemberData(nameof(Names))]
    public void Operator_OnFixedInputs_AnswersAsPython(string name)
    {
        using var scope = NewDisposeScope();
        var expected = Fixtures.GetProperty("cases").GetProperty(name);
        var actual = Cases[name](new Inputs());

        actual.shape.ShouldBe(expected.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64()));
        var kind = expected.GetProperty("kind").GetString();
        (actual.is_floating_point() ? "float" : actual.dtype == ScalarType.Bool ? "bool" : "long").ShouldBe(kind);
        var values = actual.to(float64).flatten().data<double>().ToArray();
        var wanted = expected.GetProperty("values").EnumerateArray().Select(value => value.GetDouble()).ToArray();
        for (var i = 0; i < wanted.Length; i++) values[i].ShouldBe(wanted[i], 2e-6 + 2e-5 * Math.Abs(wanted[i]), $"element {i} of {name}");
    }

    private static Tensor Seeded(Func<Tensor> draw, Func<Tensor>[] skip)
    {
        manual_seed(11);
        foreach (var other in skip) other();
        return draw();
    }

    private static JsonElement Read()
    {
        using var stream = typeof(OperatorTests).Assembly.GetManifestResourceStream("fixtures.json")!;
        return JsonDocument.Parse(stream).RootElement;
    }

    private sealed class Inputs
    {
        internal Tensor this[string name]
        {
            get
            {
                var input = Fixtures.GetProperty("inputs").GetProperty(name);
                var shape = input.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64()).ToArray();
                return input.GetProperty("kind").GetString() == "float"
                    ? tensor(input.GetProperty("values").EnumerateArray().Select(value => value.GetSingle()).ToArray(), shape)
                    : tensor(input.GetProperty("values").EnumerateArray().Select(value => value.GetInt64()).ToArray(), shape);
            }
        }

        internal Tensor Gradients(Func<Tensor[], Tensor> function, params string[] names)
        {
            var leaves = names.Select(name => this[name].requires_grad_()).ToArray();
            function(leaves).backward();
            return cat(leaves.Select(leaf => leaf.grad!.flatten()).ToArray());
        }
    }
}
