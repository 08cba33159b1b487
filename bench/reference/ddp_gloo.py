#!/usr/bin/env python3
"""Throughput of SimCLR training in PyTorch's DistributedDataParallel over Gloo: what the demo's images per second are compared with.

    python3 bench/reference/ddp_gloo.py --recipe recipes/simclr-fashion-mnist.yaml [--processes 2] [--fair]

Two processes of one thread train the recipe's network on the recipe's global batch; the input is ready in memory, so that this measures
the step alone (forward, backward, all-reduce, optimizer). Batch normalisation stays local, since torch.nn.SyncBatchNorm needs a GPU.
As most users would write it: float32, contiguous. --fair adds what DarkMatter uses: bfloat16 autocast and channels-last.
The last line is one JSON object.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_nn
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/Interop"))
import networks  # noqa: E402
from recipe import Recipe  # noqa: E402


class SimClrNetwork(torch.nn.Module):
    def __init__(self, recipe):
        super().__init__()
        self.backbone = networks.backbone(recipe.backbone, recipe.width, recipe.stem)
        self.projector = networks.projector(self.backbone.features, recipe.projector_hidden, recipe.projector_output, recipe.projector_layers)

    def forward(self, x):
        return self.projector(self.backbone(x))


def work(rank, rendezvous, arguments):
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    world, recipe = arguments.processes, Recipe(arguments.recipe, arguments.set)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    layout = torch.channels_last if arguments.fair else torch.contiguous_format
    network = SimClrNetwork(recipe).to(memory_format=layout)
    model = torch.nn.parallel.DistributedDataParallel(network) if world > 1 else network
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1e-3, momentum=0.9, weight_decay=1e-4)
    share = recipe.batch // world
    size = recipe.views[0]["size"]
    x = torch.randn(2 * share, 3, size, size).contiguous(memory_format=layout)
    own = torch.arange(2 * share) + 2 * share * rank
    positive = (torch.arange(2 * share) + share) % (2 * share) + 2 * share * rank
    rates = []
    for repeat in range(arguments.repeats + 1):
        started = time.perf_counter()
        for _ in range(arguments.steps):
            with torch.autocast("cpu", torch.bfloat16, enabled=arguments.fair):
                z = model(x)
            z = F.normalize(z.float(), dim=1)
            every = torch.cat(dist_nn.all_gather(z)) if world > 1 else z
            similarity = z @ every.t() / recipe.temperature
            similarity[torch.arange(2 * share), own] = float("-inf")
            F.cross_entropy(similarity, positive).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if repeat > 0:                                                        # the first warms up
            rates.append(arguments.steps * share * world / (time.perf_counter() - started))
    if rank == 0:
        print(json.dumps({
            "images_per_second": statistics.median(rates), "spread": [min(rates), max(rates)], "processes": world,
            "threads": arguments.threads, "batch": share * world, "precision": "bfloat16" if arguments.fair else "float32",
            "channels_last": arguments.fair, "steps": arguments.steps, "repeats": arguments.repeats, "torch": torch.__version__}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--fair", action="store_true", help="bfloat16 autocast and channels-last")
    parser.add_argument("--steps", type=int, default=5, help="steps of a repeat")
    parser.add_argument("--repeats", type=int, default=3, help="measured repeats, after one that warms up")
    arguments = parser.parse_args()
    if arguments.processes == 1:
        work(0, None, arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, (f"{folder}/rendezvous", arguments), arguments.processes)


if __name__ == "__main__":
    main()
