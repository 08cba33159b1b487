#!/usr/bin/python3
"""Makes the reference files beside this script with Pillow and torchvision (Debian 12: python3-pil, python3-torchvision 0.14).

  images/NAME.EXT + NAME.rgb   every kind of image file, and its pixels after Pillow's convert("RGB"): uint8 [H, W, 3]
  views.json + views.bin       torchvision's transforms on float tensors with fixed parameters; views.bin holds uint16 = value * 255 * 256
  crops.json                   statistics of torchvision's RandomResizedCrop.get_params

Run it again only to add cases: the tests read the committed files.
"""
import json
import math
import os
import struct
import sys
import zlib

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
WIDTH, HEIGHT = 83, 61


def photo(width, height):
    """A smooth picture with edges, saturated colours and fine texture."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 127 + 120 * np.sin(x / 9) * np.cos(y / 13)
    green = 255 * ((x // 11 + y // 7) % 2) * 0.8 + 20
    blue = 255 * y / height
    noise = np.random.default_rng(7).normal(0, 6, (height, width, 3))
    rgb = np.stack([red, green, blue], -1) + noise
    rgb[5:15, 5:25] = [250, 10, 10]
    rgb[20:30, 50:70] = [128, 128, 128]
    return np.clip(np.round(rgb), 0, 255).astype(np.uint8)


def write_images():
    folder = os.path.join(HERE, "images")
    os.makedirs(folder, exist_ok=True)
    rgb = Image.fromarray(photo(WIDTH, HEIGHT))
    gray = rgb.convert("L")
    alpha = rgb.copy()
    alpha.putalpha(Image.fromarray((np.mgrid[0:HEIGHT, 0:WIDTH][1] * 3).astype(np.uint8)))

    def save(name, image, expected=None, **options):
        path = os.path.join(folder, name)
        image.save(path, **options)
        pixels = expected if expected is not None else np.asarray(Image.open(path).convert("RGB"))
        with open(path + ".rgb", "wb") as file:
            file.write(np.ascontiguousarray(pixels).tobytes())

    save("baseline-444.jpg", rgb, quality=90, subsampling=0)
    save("baseline-422.jpg", rgb, quality=90, subsampling=1)
    save("baseline-420.jpg", rgb, quality=90, subsampling=2)
    save("progressive-420.jpg", rgb, quality=85, progressive=True, subsampling=2)
    save("gray.jpg", gray, quality=90)
    save("cmyk.jpg", rgb.convert("CMYK"), quality=92)
    save("rgb.png", rgb)
    save("gray.png", gray)
    save("alpha.png", alpha)
    save("gray-alpha.png", alpha.convert("LA"))
    save("palette.png", rgb.quantize(40))
    save("one-bit.png", gray.convert("1"))
    deep = (np.mgrid[0:HEIGHT, 0:WIDTH][1] * 700).astype(np.uint16)
    save("gray-16.png", Image.fromarray(deep), expected=np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, -1))
    path = os.path.join(folder, "interlaced.png")
    with open(path, "wb") as file:
        file.write(interlaced_png(np.asarray(rgb)))
    assert (np.asarray(Image.open(path)) == np.asarray(rgb)).all()
    with open(path + ".rgb", "wb") as file:
        file.write(np.asarray(rgb).tobytes())
    save("lossy.webp", rgb, quality=80)
    save("lossless.webp", rgb, lossless=True)
    save("alpha.webp", alpha, lossless=True, exact=True)


def interlaced_png(rgb):
    """An Adam7 PNG, which Pillow reads but cannot write."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = rgb.shape[:2]
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in passes for row in rgb[y::dy, x::dx])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def view(image, case):
    """torchvision's float-tensor operations, in the order of DarkMatter's ViewRecipe."""
    crop, size = case["crop"], case["size"]
    x = F.crop(image, crop[1], crop[0], crop[3], crop[2])
    x = F.resize(x, [size, size], antialias=True)
    if case["flip"]:
        x = F.hflip(x)
    for operation in case["order"]:
        factor = case[operation]
        if factor is not None:
            x = getattr(F, "adjust_" + operation)(x, factor)
    if case["grayscale"]:
        x = F.rgb_to_grayscale(x, 3)
    if case["sigma"] > 0:
        x = F.gaussian_blur(x, [case["kernel"]] * 2, [case["sigma"]] * 2)
    if case["solarize"]:
        x = F.solarize(x, case["threshold"] / 255)
    return x


def write_views():
    sources = {
        "rgb": torch.from_numpy(photo(WIDTH, HEIGHT)).permute(2, 0, 1).float() / 255,
        "gray": F.rgb_to_grayscale(torch.from_numpy(photo(28, 28)).permute(2, 0, 1), 1).float() / 255,
    }
    for name, image in sources.items():
        pixels = (image * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
        with open(os.path.join(HERE, f"view-source-{name}.bin"), "wb") as file:
            file.write(pixels.tobytes())

    plain = dict(size=24, flip=False, order=["brightness", "contrast", "saturation", "hue"], brightness=None, contrast=None,
                 saturation=None, hue=None, grayscale=False, sigma=0, kernel=5, solarize=False, threshold=128)
    cases = []

    def add(name, source="rgb", crop=(10, 8, 40, 32), **change):
        cases.append(dict(plain, name=name, source=source, crop=list(crop), **change))

    add("shrink")
    add("shrink-a-lot", crop=(0, 0, 83, 61), size=7)
    add("enlarge", crop=(20, 10, 9, 11), size=33)
    add("same-size", crop=(3, 4, 24, 24))
    add("wide", crop=(0, 30, 83, 3))
    add("one-pixel", crop=(82, 60, 1, 1))
    add("flip", flip=True)
    for operation, factors in dict(brightness=[0.2, 1.7], contrast=[0.3, 1.8], saturation=[0.0, 0.4, 1.9],
                                   hue=[-0.5, -0.23, 0.1, 0.31, 0.5]).items():
        for factor in factors:
            add(f"{operation} {factor}", **{operation: factor})
    add("grayscale", grayscale=True)
    for sigma, kernel in [(0.1, 3), (0.5, 5), (1.0, 7), (2.0, 23), (1.3, 47)]:
        add(f"blur {sigma} {kernel}", sigma=sigma, kernel=kernel)
    add("solarize", solarize=True)
    add("solarize 60", solarize=True, threshold=60)
    random = np.random.default_rng(11)
    for number in range(24):
        source = "gray" if number % 3 == 2 else "rgb"
        width, height = (28, 28) if source == "gray" else (WIDTH, HEIGHT)
        w, h = random.integers(3, width + 1), random.integers(3, height + 1)
        add(f"all {number}", source=source,
            crop=[int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1)), int(w), int(h)],
            size=int(random.integers(5, 41)) if source == "rgb" else 28, flip=bool(random.integers(2)),
            order=[plain["order"][i] for i in random.permutation(4)],
            brightness=float(random.uniform(0.2, 1.8)), contrast=float(random.uniform(0.2, 1.8)),
            saturation=float(random.uniform(0.2, 1.8)), hue=float(random.uniform(-0.2, 0.2)),
            grayscale=bool(random.random() < 0.3), sigma=float(random.uniform(0.1, 2)) if random.random() < 0.5 else 0.0, kernel=3,
            solarize=bool(random.random() < 0.3))

    with open(os.path.join(HERE, "views.bin"), "wb") as file:
        for case in cases:
            image = sources[case["source"]]
            if image.shape[0] == 1:
                image = image.repeat(3, 1, 1)
            result = view(image, case).permute(1, 2, 0).numpy().astype(np.float64)
            file.write(np.round(result * 255 * 256).astype("<u2").tobytes())
    with open(os.path.join(HERE, "views.json"), "w") as file:
        file.write("[\n" + ",\n".join("  " + json.dumps(case) for case in cases) + "\n]\n")


def write_crops():
    """Means of 200,000 crops of a 500 x 375 image, and how often the ten tries fail for a very wide one."""
    torch.manual_seed(3)
    rows = []
    for width, height, scale, ratio in [(500, 375, (0.08, 1.0), (3 / 4, 4 / 3)), (28, 28, (0.2, 1.0), (3 / 4, 4 / 3)), (300, 40, (0.5, 1.0), (3 / 4, 4 / 3))]:
        image = torch.empty(1, height, width)
        crops = np.array([RandomResizedCrop.get_params(image, scale, ratio) for _ in range(200_000)], dtype=np.float64)
        i, j, h, w = crops.T
        rows.append(dict(width=width, height=height, scale=scale, ratio=ratio, area=float((w * h).mean() / width / height),
                         log_ratio=float(np.log(w / h).mean()), log_ratio_std=float(np.log(w / h).std()),
                         x=float((j / width).mean()), y=float((i / height).mean()), crop_width=float((w / width).mean()),
                         whole_height=float((h == height).mean())))
    with open(os.path.join(HERE, "crops.json"), "w") as file:
        json.dump(rows, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    print(f"torchvision {torchvision.__version__}, Pillow {PIL.__version__}, numpy {np.__version__}", file=sys.stderr)
    assert math.isclose(float(F.adjust_brightness(torch.ones(3, 1, 1), 0.5)[0]), 0.5)
    for part in sys.argv[1:] or ["images", "views", "crops"]:
        globals()["write_" + part]()
