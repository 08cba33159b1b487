#!/usr/bin/python3
"""The torchvision side of bench/data: python3-torchvision on Pillow images, one thread, the same two views.

  peer.py make FOLDER COUNT         writes synthetic photos, 500 x 375 JPEG of about 100 KB
  peer.py serve fashion IDX         then reads lines "COUNT" from stdin, makes both views of so many images,
  peer.py serve photos FOLDER       and answers with the CPU seconds it took
"""
import gzip
import io
import os
import sys
import time

import numpy as np
import torch
from PIL import Image
from torchvision import transforms as T
from torchvision.transforms import functional as F


def photo(seed, width=500, height=375):
    """Noise with a 1/f spectrum and a few edges: about as hard to compress as a photo."""
    random = np.random.default_rng(seed)
    fy, fx = np.meshgrid(np.fft.fftfreq(height), np.fft.rfftfreq(width), indexing="ij")
    falloff = 1 / np.maximum(np.hypot(fy, fx), 1 / width) ** 1.15
    planes = []
    for _ in range(3):
        plane = np.fft.irfft2(falloff * np.exp(2j * np.pi * random.random(fx.shape)), s=(height, width))
        planes.append(plane / plane.std())
    rgb = 128 + 45 * (0.75 * planes[0][..., None] + 0.4 * np.stack(planes, -1))
    for _ in range(6):
        x, y = random.integers(0, width - 80), random.integers(0, height - 80)
        rgb[y:y + random.integers(20, 80), x:x + random.integers(20, 80)] += random.normal(0, 40, 3)
    return np.clip(rgb, 0, 255).astype(np.uint8)


def make(folder, count):
    os.makedirs(folder, exist_ok=True)
    for i in range(count):
        Image.fromarray(photo(i)).save(os.path.join(folder, f"{i:04}.jpg"), quality=92)


def simclr(size, scale, kernel, strength):
    jitter = T.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)
    return T.Compose([
        T.RandomResizedCrop(size, scale=scale),
        T.RandomHorizontalFlip(),
        T.RandomApply([jitter], p=0.8),
        T.RandomGrayscale(p=0.2),
        T.RandomApply([T.GaussianBlur(kernel, sigma=(0.1, 2.0))], p=0.5),
    ])


def main():
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]))
        return
    torch.set_num_threads(1)
    if sys.argv[2] == "fashion":
        with gzip.open(sys.argv[3]) as file:
            images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
        load = lambda i: Image.fromarray(images[i % len(images)]).convert("RGB")
        view = simclr(28, (0.2, 1.0), 3, 0.5)
    else:
        files = [open(os.path.join(sys.argv[3], name), "rb").read() for name in sorted(os.listdir(sys.argv[3]))]
        load = lambda i: Image.open(io.BytesIO(files[i % len(files)])).convert("RGB")
        view = simclr(224, (0.08, 1.0), 23, 1.0)
    print("ready", flush=True)
    start = 0
    for line in sys.stdin:
        count = int(line)
        before = time.process_time()
        for i in range(start, start + count):
            image = load(i)
            F.pil_to_tensor(view(image))
            F.pil_to_tensor(view(image))
        print(time.process_time() - before, flush=True)
        start += count


main()
