"""The training step of bench/step in python3-torch: ResNet-18 (3x3 stem, no max-pool), projector, SimCLR's loss, SGD; one thread.

Reads lines from standard input, answers each on standard output:
    step float32|bfloat16 COUNT   runs COUNT steps; prints their seconds, their CPU seconds and the last loss
    profile float32|bfloat16      prints where the time goes
"""
import argparse
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + shortcut, inplace=True)


class Network(nn.Module):
    def __init__(self, width, projection):
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        blocks, inputs = [], width
        for i, outputs in enumerate(widths):
            blocks += [Block(inputs, outputs, 1 if i == 0 else 2), Block(outputs, outputs, 1)]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.projector = nn.Sequential(nn.Linear(inputs, inputs, bias=False), nn.BatchNorm1d(inputs), nn.ReLU(inplace=True),
                                       nn.Linear(inputs, projection, bias=False), nn.BatchNorm1d(projection))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.projector(F.adaptive_avg_pool2d(self.blocks(y), 1).flatten(1))


def loss_of(z, temperature):
    """SimCLR: 2N - 1 candidates per view; rows i and i + N are a pair."""
    z = F.normalize(z.float(), dim=1)
    n = z.shape[0] // 2
    logits = (z @ z.t() / temperature).fill_diagonal_(float("-inf"))
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--views", type=int, default=512)
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--width", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    images = torch.randint(0, 256, (options.views, options.size, options.size, 3), dtype=torch.uint8)
    runs = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(2)
        # The better of the two memory layouts for both precisions, so that the comparison is against PyTorch at its best.
        network = Network(options.width, 128).to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(network.parameters(), 0.03, momentum=0.9, weight_decay=5e-4, foreach=True)
        runs[precision] = network, optimizer

    def step(precision):
        network, optimizer = runs[precision]
        x = ((images.float() - 127.5) / 64.0).permute(0, 3, 1, 2)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            z = network(x)
        loss = loss_of(z, 0.2)
        loss.backward()
        optimizer.step()
        return loss.item()

    print(f"ready PyTorch {torch.__version__}", flush=True)
    for line in sys.stdin:
        command, precision, *rest = line.split()
        if command == "profile":
            with torch.profiler.profile() as profile:
                step(precision)
            print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=40), flush=True)
            continue
        started = time.perf_counter()
        used = time.process_time()
        for _ in range(int(rest[0])):
            loss = step(precision)
        print(time.perf_counter() - started, time.process_time() - used, loss, flush=True)


if __name__ == "__main__":
    main()
