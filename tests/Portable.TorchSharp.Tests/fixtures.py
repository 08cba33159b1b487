#!/usr/bin/python3
"""Writes fixtures.json beside itself: what python3-torch answers to the cases of OperatorTests.cs.

Run it with Debian's python3-torch, which uses the same libtorch: python3 tests/Portable.TorchSharp.Tests/fixtures.py
"""
import json
import pathlib

import torch
from torch.nn import functional as F

torch.manual_seed(7)
inputs = {
    "a": torch.randn(3, 4), "b": torch.randn(3, 4), "m": torch.randn(4, 5), "s": torch.randn(4, 4), "batch": torch.randn(2, 3, 4),
    "batch2": torch.randn(2, 4, 3), "positive": torch.rand(3, 4) + 0.1, "image": torch.randn(2, 3, 6, 6), "kernel": torch.randn(4, 3, 3, 3),
    "bias": torch.randn(4), "weight5": torch.randn(5, 4), "v": torch.randn(4), "w": torch.randn(4), "gamma": torch.rand(3) + 0.5, "beta": torch.randn(3),
    "index": torch.tensor([2, 0]), "classes": torch.tensor([1, 3, 0]), "columns": torch.tensor([[0, 1, 3, 2], [3, 3, 0, 0], [1, 2, 2, 1]]),
    "counts": torch.tensor([0, 3, 1, 1, 0, 3, 3]),
}
i = inputs


def gradients(function, *names):
    leaves = [inputs[name].clone().requires_grad_() for name in names]
    function(*leaves).backward()
    return torch.cat([leaf.grad.flatten() for leaf in leaves])


def conv_bn_pool(x, kernel, gamma, beta):
    y = F.batch_norm(x, None, None, gamma, beta, training=True)
    y = F.relu(F.conv2d(y, kernel, stride=2, padding=1))
    return (F.adaptive_avg_pool2d(y, 1) ** 2).sum()


a, b = i["a"], i["b"]
cases = {
    "add": a + b, "add alpha": a.add(b, alpha=0.5), "add scalar": a + 2, "sub": a - b, "rsub": 3 - a, "mul": a * b, "div": a / b, "rdiv": 2 / a, "neg": -a,
    "remainder": a % 0.7, "floor_divide": torch.floor_divide(a, 0.3), "pow": i["positive"] ** 1.5, "pow tensor": i["positive"] ** b, "abs": a.abs(), "exp": a.exp(),
    "expm1": a.expm1(), "log": i["positive"].log(), "log1p": i["positive"].log1p(), "log2": i["positive"].log2(), "sqrt": i["positive"].sqrt(),
    "rsqrt": i["positive"].rsqrt(), "reciprocal": a.reciprocal(), "sin": a.sin(), "cos": a.cos(), "tanh": a.tanh(), "sigmoid": a.sigmoid(), "erf": a.erf(),
    "floor": a.floor(), "ceil": a.ceil(), "round": a.round(), "trunc": a.trunc(), "sign": a.sign(), "relu": a.relu(), "gelu": F.gelu(a), "silu": F.silu(a),
    "square": a.square(), "clamp": a.clamp(-0.5, 0.5), "clamp min": a.clamp(min=0.1), "clamp_min": a.clamp_min(0.2), "clamp_max": a.clamp_max(0.2),
    "maximum": torch.maximum(a, b), "minimum": torch.minimum(a, b), "addcmul": a.addcmul(b, b, value=0.3), "addcdiv": a.addcdiv(b, i["positive"], value=0.3),
    "lerp": a.lerp(b, i["positive"]), "mm": a.mm(i["m"]), "matmul": i["batch"].matmul(i["m"]), "bmm": i["batch"].bmm(i["batch2"]), "mv": a.mv(i["v"]),
    "dot": i["v"].dot(i["w"]), "outer": i["v"].outer(i["w"]), "addmm": i["s"].addmm(i["s"], i["s"], beta=0.5, alpha=2), "einsum": torch.einsum("ij,kj->ik", a, b),
    "softmax": a.softmax(1), "log_softmax": a.log_softmax(0), "logsumexp": a.logsumexp(1), "cumsum": a.cumsum(1),
    "eq": a == a, "lt": a < b, "ge": a >= 0, "gt reversed": 0.1 > a, "logical": (a > 0) & (b > 0) | ~(a > 0), "isfinite": (a / 0).isfinite(), "isnan": (a * float("nan")).isnan(),
    "all": (a > -9).all(), "any dim": (a > 0.5).any(1), "where": torch.where(a > 0, a, b), "masked_fill": a.masked_fill(a > 0, -1), "masked_select": a.masked_select(a > 0),
    "nonzero": (a > 0).nonzero(), "sum": a.sum(), "sum dim": a.sum(1), "sum dims": i["batch"].sum((0, 2), keepdim=True), "mean": a.mean(), "mean dims": i["batch"].mean((1, 2)),
    "std": a.std(), "std dim": a.std(0, unbiased=False), "var": a.var(), "var dim": a.var(1), "prod": a.prod(), "max": a.max(), "max dim": a.max(1).values,
    "max index": a.max(1).indices, "min": a.min(), "min dim": a.min(0).values, "amax": a.amax(1), "argmax": a.argmax(), "argmax dim": a.argmax(1), "argmin dim": a.argmin(0),
    "argsort": a.argsort(1, descending=True), "sort": a.sort(1, descending=True).values, "topk": a.topk(2, 1).values, "topk index": a.topk(2, 1).indices,
    "norm": a.norm(), "norm dim": a.norm(dim=1, keepdim=True), "bincount": i["counts"].bincount(minlength=6), "trace": i["s"].trace(), "median": a.median(),
    "view": a.view(2, 6), "reshape": a.t().reshape(2, -1), "flatten": i["batch"].flatten(1), "transpose": i["batch"].transpose(0, 2), "permute": i["batch"].permute(2, 0, 1),
    "expand": i["v"].expand(3, 4), "repeat": i["v"].repeat(2, 2), "repeat_interleave": i["v"].repeat_interleave(2, 0), "narrow": a.narrow(1, 1, 2), "slice": a[:, 0:4:2],
    "select": a.select(1, 2), "flip": a.flip(1), "roll": a.roll(1, 0), "diagonal": i["s"].diagonal(), "diag": i["v"].diag(), "tril": i["s"].tril(), "triu": i["s"].triu(1),
    "chunk": a.chunk(2, 1)[1], "split": a.split(2, 0)[1], "unbind": a.unbind(0)[2], "cat": torch.cat([a, b], 1), "stack": torch.stack([a, b]), "to int": a.to(torch.int64),
    "to bfloat16": a.to(torch.bfloat16).float(), "index number": a[1, 2], "index range": a[1:, -2:], "index new axis": a[:, None, 1], "index ellipsis": i["batch"][..., 1],
    "index tensor": a[i["index"]], "index tensor in second": a[:, i["index"]], "index mask": a[a > 0], "index_select": a.index_select(0, i["index"]), "gather": a.gather(1, i["columns"]),
    "scatter": torch.zeros(3, 4).scatter(1, i["columns"], a), "scatter_add": torch.zeros(3, 4).scatter_add(1, i["columns"], a),
    "index_add": torch.zeros(3, 4).index_add_(0, i["index"], a[:2], alpha=2), "arange": torch.arange(1, 7, 2), "linspace": torch.linspace(0, 1, 5), "eye": torch.eye(3, 2),
    "full": torch.full((2, 2), 3.5), "linear": F.linear(a, i["weight5"]), "conv2d": F.conv2d(i["image"], i["kernel"], i["bias"], stride=2, padding=1),
    "batch_norm": F.batch_norm(i["image"], None, None, i["gamma"], i["beta"], training=True), "max_pool2d": F.max_pool2d(i["image"], 3, 2, 1),
    "adaptive_avg_pool2d": F.adaptive_avg_pool2d(i["image"], 2), "normalize": F.normalize(a, dim=1), "cross_entropy": F.cross_entropy(a, i["classes"]),
    "cross_entropy sum": F.cross_entropy(a, i["classes"], reduction="sum", label_smoothing=0.1), "mse_loss": F.mse_loss(a, b), "one_hot": F.one_hot(i["classes"], 4),
    "svdvals": torch.linalg.svdvals(a), "eigvalsh": torch.linalg.eigvalsh(i["s"] @ i["s"].t()), "vector_norm": torch.linalg.vector_norm(a, 3.0),
    "cholesky": torch.linalg.cholesky(i["s"] @ i["s"].t()), "cholesky_solve": torch.cholesky_solve(i["m"], torch.linalg.cholesky(i["s"] @ i["s"].t())),
    "gradient of mm": gradients(lambda x, y: x.mm(y).tanh().sum(), "a", "m"),
    "gradient of a network": gradients(conv_bn_pool, "image", "kernel", "gamma", "beta"),
    "gradient of cross entropy": gradients(lambda x: F.cross_entropy(F.normalize(x, dim=1) / 0.2, inputs["classes"]), "a"),
    "gradient of indexing": gradients(lambda x: (x[:, 1] * x[0, 2] + x.gather(1, inputs["columns"]).sum(1)).pow(2).sum(), "a"),
}
torch.manual_seed(11)
cases["randn after manual_seed"] = torch.randn(20)
cases["rand after manual_seed"] = torch.rand(5)
cases["randperm after manual_seed"] = torch.randperm(9)


def plain(tensor):
    kind = "float" if tensor.is_floating_point() else "bool" if tensor.dtype == torch.bool else "long"
    return {"kind": kind, "shape": list(tensor.shape), "values": [float(f"{value:.9g}") if kind == "float" else int(value) for value in tensor.flatten().tolist()]}


folder = pathlib.Path(__file__).parent
sections = [f'  "{key}": {{\n' + ",\n".join(f"    {json.dumps(name)}: {json.dumps(plain(value))}" for name, value in group.items()) + "\n  }"
            for key, group in (("inputs", inputs), ("cases", cases))]
(folder / "fixtures.json").write_text("{\n" + ",\n".join(sections) + "\n}\n")
