#!/usr/bin/env python3
"""DarkMatter's accuracy against the plain PyTorch reference: same recipe, same steps, several seeds, one evaluator for both.

    python3 tests/Interop/compare_accuracy.py --recipe recipes/simclr-fashion-mnist.yaml --steps 500 --seeds 1 2 3 --output artifacts/accuracy

Each side trains with one process of one thread; the seeds alternate. Encoders stay in the output folder, and what is there is not trained
again, so an interrupted comparison goes on. Both sides' encoders are judged by this PyTorch code on the test images, with the training
images as the bank, at the recipe's k and tau and at two more. The last line is one JSON object.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

import torch

import losses
import networks
import simclr_reference
import tensorfile
from recipe import Recipe, idx_dataset

HERE = os.path.dirname(os.path.abspath(__file__))


def train_ours(arguments, seed, encoder):
    """One run of DarkMatter; its exported encoder."""
    folder = encoder.removesuffix(".safetensors") + "-run"
    overrides = [f"seed={seed}", f"train.max_steps={arguments.steps}", "local.trainers=1", "local.threads=1", *arguments.set]
    command = ["dotnet", arguments.darkmatter, "pretrain", "--recipe", arguments.recipe, "--run", f"accuracy-{seed}", "--overwrite",
               "--output", folder, "--seconds", "3h", *(part for value in overrides for part in ("--set", value))]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    os.replace(os.path.join(folder, "encoder.safetensors"), encoder)


def train_theirs(arguments, seed, encoder):
    """One run of the reference."""
    command = [sys.executable, os.path.join(HERE, "simclr_reference.py"), "--recipe", arguments.recipe, "--steps", str(arguments.steps),
               "--no-raw", "--save", encoder + ".part", *(part for value in (f"seed={seed}", *arguments.set) for part in ("--set", value))]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    os.replace(encoder + ".part", encoder)


def judged(encoder, recipe, data, settings):
    """kNN accuracy in per cent at each (k, tau)."""
    images, labels, queries, expected = data
    backbone = networks.backbone(recipe.backbone, recipe.width, recipe.stem)
    backbone.load_state_dict(tensorfile.read(encoder)[0], strict=True)
    backbone = backbone.to(memory_format=torch.channels_last)
    bfloat16 = recipe.precision == "bfloat16"
    bank, asked = (simclr_reference.features(backbone, x, recipe, bfloat16) for x in (images, queries))
    return [100 * losses.knn_accuracy(bank, labels, asked, expected, k, temperature) for k, temperature in settings]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override for both sides, such as train.precision=float32")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--output", required=True, help="folder of the encoders")
    parser.add_argument("--darkmatter", default=os.path.join(HERE, "../../artifacts/bin/Trainer/release/darkmatter.dll"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.makedirs(arguments.output, exist_ok=True)
    recipe = Recipe(arguments.recipe, arguments.set)
    data = idx_dataset(recipe)
    settings = [(recipe.k, recipe.knn_temperature), (10, 0.05), (5, 0.02)]
    print("kNN in per cent at " + ", ".join(f"k {k} tau {temperature}" for k, temperature in settings), flush=True)
    results = {"ours": [], "theirs": []}
    for seed in arguments.seeds:
        for side, train in (("ours", train_ours), ("theirs", train_theirs)):
            encoder = os.path.join(arguments.output, f"{side}-{seed}.safetensors")
            if not os.path.exists(encoder):
                train(arguments, seed, encoder)
            results[side].append(judged(encoder, recipe, data, settings))
            print(f"seed {seed}  {side:6}  " + "  ".join(f"{value:.2f}" for value in results[side][-1]), flush=True)

    summary = []
    for place, (k, temperature) in enumerate(settings):
        ours, theirs = ([row[place] for row in results[side]] for side in ("ours", "theirs"))
        error = (sum(statistics.variance(side) for side in (ours, theirs)) / len(ours)) ** 0.5 if len(ours) > 1 else None
        summary.append({"k": k, "tau": temperature, "ours": statistics.mean(ours), "theirs": statistics.mean(theirs),
                        "difference": statistics.mean(ours) - statistics.mean(theirs), "standard_error": error})
    print(json.dumps({"steps": arguments.steps, "seeds": arguments.seeds, "precision": recipe.precision, "knn": summary}))


if __name__ == "__main__":
    main()
