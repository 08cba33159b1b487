#!/usr/bin/env python3
"""SimCLR in plain PyTorch, from the same recipe as DarkMatter: the independent reference for the accuracy of `make demo`.

    python3 tests/Interop/simclr_reference.py --recipe recipes/simclr-fashion-mnist.yaml --steps 700 [--processes 2]

Same model, batch, steps, augmentations, optimizer, schedule and kNN; not the same random numbers, and none of DarkMatter's code. It
needs Debian's python3-torch and python3-torchvision. The last line is one JSON object.
"""
import argparse
import json
import math
import tempfile
import time

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_nn
import torch.nn.functional as F
from torchvision import transforms

import losses
import networks
import tensorfile
from recipe import Recipe, idx_dataset


def augmentation(view):
    """One view, as torchvision defines it on float tensors. Gray images stay one channel: saturation, hue and grayscale leave them be."""
    jitter, blur = view["color_jitter"], view["blur"]
    steps = [transforms.RandomResizedCrop(view["size"], view["scale"], view["ratio"]), transforms.RandomHorizontalFlip(view["flip"])]
    if jitter["probability"]:
        steps.append(transforms.RandomApply([transforms.ColorJitter(jitter["brightness"], jitter["contrast"])], jitter["probability"]))
    if blur["probability"]:
        steps.append(transforms.RandomApply([transforms.GaussianBlur(blur["kernel"], blur["sigma"])], blur["probability"]))
    if view["solarize"]:
        steps.append(transforms.RandomSolarize(view["solarize_threshold"] / 255, view["solarize"]))
    return transforms.Compose(steps)


class Views(torch.utils.data.Dataset):
    """Sample i of an epoch's order: its views [views, 1, size, size], floats in 0..1."""

    def __init__(self, images, recipe):
        self.images = images
        self.augmentations = [augmentation(view) for view in recipe.views]

    def __getitem__(self, i):
        image = self.images[i].unsqueeze(0).float() / 255
        return torch.stack([augment(image) for augment in self.augmentations])

    def __len__(self):
        return len(self.images)


def normalized(images, recipe):
    """[n, 1, H, W] in 0..1 -> [n, 3, H, W] as the network wants it."""
    mean, std = torch.tensor(recipe.mean).view(3, 1, 1), torch.tensor(recipe.std).view(3, 1, 1)
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def gather(local, offset, total):
    """Every process' rows, with the gradient: a sum of matrices that are zero outside the own rows."""
    if not dist.is_initialized():
        return local
    return dist_nn.all_reduce(F.pad(local, (0, 0, offset, total - offset - len(local))))


def learning_rate(recipe, step, steps):
    """Linear warm-up to the peak, then a half cosine."""
    warmup = round(recipe.warmup * steps)
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    end = recipe.lr * recipe.final_lr
    return end + (recipe.lr - end) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def train(rank, world, recipe, images, steps, bfloat16, report):
    """Trains one process' share; returns the backbone, the last loss and the images per second."""
    torch.manual_seed(recipe.seed)
    backbone = networks.backbone(recipe.backbone, recipe.width, recipe.stem, recipe.zero_init_residual)
    head = networks.projector(backbone.features, recipe.projector_hidden, recipe.projector_output, recipe.projector_layers)
    network = torch.nn.ModuleList([backbone, head]).to(memory_format=torch.channels_last)
    if world > 1:
        networks.SyncBatchNorm.convert(network)
    parameters = [p for p in network.parameters() if p.requires_grad]
    exempt = recipe.exclude_one_dimensional
    optimizer = torch.optim.SGD(
        [{"params": [p for p in parameters if p.dim() > 1 or not exempt], "weight_decay": recipe.weight_decay},
         {"params": [p for p in parameters if p.dim() <= 1 and exempt], "weight_decay": 0}],
        lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov)

    batch = recipe.batch
    first, last = batch * rank // world, batch * (rank + 1) // world
    share = last - first
    dataset, order, per_epoch = Views(images, recipe), torch.Generator().manual_seed(recipe.seed), len(images) // batch
    torch.manual_seed(recipe.seed * 1000 + rank)                              # augmentations: each process its own
    anchors = torch.arange(2 * share)
    own = torch.cat([torch.arange(first, last), batch + torch.arange(first, last)])
    positive = (own + batch) % (2 * batch)                                    # where the other view of each anchor's image stands
    network.train()
    started, loss = time.perf_counter(), None
    for step in range(steps):
        if step % per_epoch == 0:
            permutation = torch.randperm(len(images), generator=order)
        begin = step % per_epoch * batch
        x = torch.stack([dataset[i] for i in permutation[begin + first:begin + last].tolist()])          # [n, 2, 1, S, S]
        x = normalized(x.transpose(0, 1).reshape(2 * share, *x.shape[2:]), recipe)                       # view 1 of all, then view 2
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step, steps)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            z = head(backbone(x))
        z = F.normalize(z.float(), dim=1)
        every = torch.cat([gather(part, first, batch) for part in z.split(share)])                       # [2B, D], view 1 of all first
        similarity = z @ every.t() / recipe.temperature
        mask = torch.zeros_like(similarity, dtype=torch.bool)
        mask[anchors, own] = True
        loss = F.cross_entropy(similarity.masked_fill(mask, -math.inf), positive, reduction="sum") / (2 * batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if world > 1:
            flat = torch.cat([p.grad.reshape(-1) for p in parameters])
            dist.all_reduce(flat)
            for p, grad in zip(parameters, flat.split([p.numel() for p in parameters])):
                p.grad.copy_(grad.view_as(p))
        optimizer.step()
        if report and (step + 1) % 50 == 0:
            whole = loss.item() if world == 1 else None
            print(f"step {step + 1}/{steps}" + (f"  loss {whole:.4f}" if whole else ""), flush=True)
    loss = loss.detach()
    if world > 1:
        dist.all_reduce(loss)
    return backbone, loss.item(), steps * batch / (time.perf_counter() - started)


def features(backbone, images, recipe, bfloat16):
    """Backbone features [n, F] of whole images, float32."""
    backbone.eval()
    parts = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        for block in images.split(500):
            parts.append(backbone(normalized(block.unsqueeze(1).float() / 255, recipe)).float())
    return torch.cat(parts)


def work(rank, world, rendezvous, arguments):
    """One process: trains, and on rank 0 evaluates and prints."""
    torch.set_num_threads(arguments.threads)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    recipe = Recipe(arguments.recipe, arguments.set)
    images, labels, queries, expected = idx_dataset(recipe, arguments.held_out)
    steps = arguments.steps or recipe.steps(len(images))
    bfloat16 = recipe.precision == "bfloat16"
    started = time.perf_counter()
    backbone, loss, rate = train(rank, world, recipe, images, steps, bfloat16, report=rank == 0)
    if rank > 0:
        return
    seconds = time.perf_counter() - started
    if arguments.save:
        tensorfile.write(arguments.save, dict(backbone.state_dict()))
    knn = losses.knn_accuracy(features(backbone, images, recipe, bfloat16), labels,
                              features(backbone, queries, recipe, bfloat16), expected, recipe.k, recipe.knn_temperature)
    raw = [x.flatten(1).float() / 255 for x in (images, queries)]
    knn_raw = losses.knn_accuracy(raw[0], labels, raw[1], expected, recipe.k, recipe.knn_temperature) if arguments.raw else None
    print(json.dumps({
        "knn": knn, "knn_raw_pixels": knn_raw, "loss": loss, "steps": steps, "batch": recipe.batch, "images_per_second": rate,
        "seconds": seconds, "seed": recipe.seed, "precision": recipe.precision, "processes": world, "threads": arguments.threads,
        "queries": "held-out training images" if arguments.held_out else "test images"}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", required=True, help="the YAML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override, such as train.precision=float32")
    parser.add_argument("--steps", type=int, default=0, help="optimizer steps; default: those of the recipe's epochs")
    parser.add_argument("--processes", type=int, default=1, help="data-parallel processes over Gloo, batch normalisation synchronised")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--held-out", action="store_true", help="train on all but the last 10,000 training images and judge on those")
    parser.add_argument("--save", metavar="FILE", help="write the backbone here, as safetensors with torchvision's names")
    parser.add_argument("--no-raw", dest="raw", action="store_false", help="leave raw-pixel kNN out")
    arguments = parser.parse_args()
    if arguments.processes == 1:
        work(0, 1, None, arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_spawned, (arguments.processes, f"{folder}/rendezvous", arguments), arguments.processes)


def _spawned(rank, world, rendezvous, arguments):
    work(rank, world, rendezvous, arguments)


if __name__ == "__main__":
    main()
