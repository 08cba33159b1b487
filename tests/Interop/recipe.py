"""The keys of a DarkMatter recipe that the references need, with DarkMatter's defaults, and the data it names."""
import gzip
import math
import os

import torch
import yaml


def _bfloat16_is_fast():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        flags = next((line for line in file if line.startswith("flags")), "")
    return any(flag in flags.split() for flag in ("avx512_bf16", "amx_bf16"))


def _view(given):
    view = {"count": 2, "size": 224, "scale": [0.08, 1.0], "ratio": [3 / 4, 4 / 3], "flip": 0.5, "color_jitter": {}, "grayscale": 0.0,
            "blur": {}, "solarize": 0.0, "solarize_threshold": 128, **given}
    view["color_jitter"] = {"probability": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, **view["color_jitter"]}
    view["blur"] = {"probability": 0.0, "sigma": [0.1, 2.0], "kernel": 23, **view["blur"]}
    return view


class Recipe:
    """The options of a recipe as plain attributes."""

    def __init__(self, path, overrides=()):
        with open(path, encoding="utf-8") as file:
            top = yaml.safe_load(file)
        for override in overrides:
            key, _, value = override.partition("=")
            *sections, name = key.split(".")
            place = top
            for section in sections:
                place = place.setdefault(section, {})
            place[name] = yaml.safe_load(value)
        folder = os.path.dirname(os.path.abspath(path))
        section = lambda name: top.get(name) or {}
        data, model, method, optimizer, train = (section(name) for name in ("data", "model", "method", "optimizer", "train"))
        knn = section("evaluation").get("knn", {})

        def source(name):
            given = data[name]
            return tuple(os.path.join(folder, given[key]) for key in ("idx", "idx_labels"))

        self.seed = top.get("seed", 0)
        self.train_files, self.test_files = source("source"), source("evaluation_source")
        self.mean, self.std = data.get("mean", [0.485, 0.456, 0.406]), data.get("std", [0.229, 0.224, 0.225])
        self.views = [_view(v) for v in top["views"] for _ in range(v.get("count", 2))]
        self.backbone, self.width = model.get("backbone", "resnet18"), model.get("width", 64)
        self.stem, self.zero_init_residual = model.get("stem", "imagenet"), model.get("zero_init_residual", False)
        self.temperature = method.get("temperature", 0.5)
        self.projector_hidden, self.projector_output = method.get("projector_hidden", 0), method.get("projector_output", 128)
        self.projector_layers = method.get("projector_layers", 2)
        self.lr, self.momentum = optimizer.get("lr", 0.06), optimizer.get("momentum", 0.9)
        self.nesterov, self.weight_decay = optimizer.get("nesterov", False), optimizer.get("weight_decay", 1e-4)
        self.exclude_one_dimensional = optimizer.get("exclude_one_dimensional", True)
        self.warmup, self.final_lr = optimizer.get("warmup", 0.05), optimizer.get("final_lr", 0.0)
        self.batch, self.epochs, self.max_steps = train.get("batch", 256), train.get("epochs", 100), train.get("max_steps", 0)
        self.precision = train.get("precision", "auto")
        if self.precision == "auto":
            self.precision = "bfloat16" if _bfloat16_is_fast() else "float32"
        self.k, self.knn_temperature = knn.get("k", 200), knn.get("temperature", 0.1)
        if method.get("name", "simclr") != "simclr" or optimizer.get("name", "sgd") != "sgd" or len(self.views) != 2:
            raise ValueError(f"{path}: this reference knows SimCLR with two views and SGD only")

    def steps(self, samples):
        """min(max_steps, epochs * floor(samples / batch)), at least 1; a time budget is the caller's to translate."""
        steps = max(1, math.floor(self.epochs * (samples // self.batch)))
        return min(steps, self.max_steps) if self.max_steps else steps


def read_idx(path):
    """An IDX file of bytes, plain or gzipped, as a uint8 tensor."""
    with open(path, "rb") as file:
        raw = file.read()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    if raw[:3] != b"\0\0\x08":
        raise ValueError(f"{path}: not an IDX file of bytes")
    shape = [int.from_bytes(raw[4 + 4 * i:8 + 4 * i], "big") for i in range(raw[3])]
    return torch.frombuffer(bytearray(raw[4 + 4 * len(shape):]), dtype=torch.uint8).reshape(shape)


def idx_dataset(recipe, held_out=False):
    """(training images, labels, query images, labels). `held_out` asks about the last 10,000 training images, and trains without them."""
    images, labels = (read_idx(path) for path in recipe.train_files)
    if held_out:
        return images[:-10000], labels[:-10000].long(), images[-10000:], labels[-10000:].long()
    queries, expected = (read_idx(path) for path in recipe.test_files)
    return images, labels.long(), queries, expected.long()
