#!/usr/bin/env python3
"""How fast rounding grows in the first steps of SimCLR: what "equal losses" can mean for runs that add in another order.

    python3 tests/Interop/sensitivity.py

Trains the demo's network twice in plain PyTorch, one process, same images: once as initialised, once with every weight off by about one
rounding error (1e-7 in float32, 1e-15 in float64). Prints the relative difference of the losses, step by step, for several learning rates.
Two runs that only round differently cannot be expected to stay closer than this.
"""
import gzip
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import networks  # noqa: E402

IMAGES = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"
BATCH, STEPS, TEMPERATURE = 256, 8, 0.1


def views(images, step, dtype):
    """Two shifted views of one batch in changed brightness, [2B, 3, 28, 28]."""
    random = np.random.RandomState(step)
    chosen = random.randint(0, len(images), BATCH)
    both = []
    for _ in range(2):
        pixels = images[chosen] / 255 * random.uniform(0.1, 1.9, (BATCH, 1, 1))
        both.append((np.roll(pixels, random.randint(-4, 5, 2), (1, 2)).clip(0, 1) - 0.286) / 0.353)
    return torch.tensor(np.concatenate(both), dtype=dtype).unsqueeze(1).repeat(1, 3, 1, 1)


def losses(images, dtype, off_by, lr):
    torch.manual_seed(0)
    backbone = networks.backbone("resnet18", 16, "small_stride2")
    model = torch.nn.Sequential(backbone, networks.projector(backbone.features, 512, 128, 3)).to(dtype)
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + off_by * torch.randn(parameter.shape, dtype=torch.float64, generator=noise).to(dtype))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    result = []
    for step in range(STEPS):
        z = F.normalize(model(views(images, step, dtype)), dim=1)
        similarity = z.matmul(z.t()) / TEMPERATURE
        similarity.fill_diagonal_(-1e9)
        loss = F.cross_entropy(similarity, (torch.arange(2 * BATCH) + BATCH) % (2 * BATCH))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        result.append(loss.item())
    return np.array(result)


def main():
    torch.set_num_threads(1)
    with gzip.open(IMAGES) as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28).astype(np.float64)
    print(f"{'dtype':<16}{'off by':<10}{'lr':<10}relative difference of the loss at steps 1 to {STEPS}")
    for dtype, off_by in ((torch.float32, 1e-7), (torch.float64, 1e-15)):
        for lr in (0.02, 1e-3, 1e-4):
            difference = np.abs(losses(images, dtype, off_by, lr) / losses(images, dtype, 0, lr) - 1)
            print(f"{str(dtype):<16}{off_by:<10.0e}{lr:<10.0e}" + " ".join(f"{d:.0e}" for d in difference))


if __name__ == "__main__":
    main()
