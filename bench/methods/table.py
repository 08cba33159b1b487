#!/usr/bin/env python3
"""Issue 4's table: every method on Fashion-MNIST for the same time, on the same backbone, with two trainers.

    make bench-methods [ARGS="--seconds 600 --only simclr,byol --again"]

For each recipe recipes/*-fashion-mnist.yaml: pretrain for SECONDS, then `darkmatter evaluate --linear`: kNN and linear accuracy on the test images,
which nothing was chosen on. What a method gave is kept in artifacts/bench/methods/NAME.json; a method that has one is not trained again unless
--again, so the table can be made in as many sittings as it takes. docs/benchmarks/methods.md is written anew after each method; its rows are sorted.
Peak memory is the sum of the trainers' VmHWM as the kernel counts it, read every half second.
"""
import argparse
import glob
import json
import os
import shutil
import subprocess
import sys
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
KEPT = os.path.join(ROOT, "artifacts", "bench", "methods")
DOCS = os.path.join(ROOT, "docs", "benchmarks", "methods.md")
DARKMATTER = ["dotnet", os.path.join(ROOT, "artifacts", "bin", "Trainer", "release", "darkmatter.dll")]

# What must fail to learn: recipe, name of the row, changes.
CONTROLS = [
    ("moco", "moco, m = 0", ["method.momentum=0"]),
    ("byol", "byol, no stop-gradient", ["method.stop_gradient=false"]),
    ("simsiam", "simsiam, no stop-gradient", ["method.stop_gradient=false"]),
    ("vicreg", "vicreg, std = cov = 100", ["method.variance=100", "method.covariance=100"]),
    ("swav", "swav, prototypes not normalised", ["method.normalize_prototypes=false"]),
    ("triplet", "triplet, hardest negative", ["method.hardest_negative=true"]),
]


def rows():
    for path in sorted(glob.glob(os.path.join(ROOT, "recipes", "*-fashion-mnist.yaml"))):
        yield os.path.basename(path).removesuffix("-fashion-mnist.yaml"), path, []
    for recipe, name, changes in CONTROLS:
        yield name, os.path.join(ROOT, "recipes", f"{recipe}-fashion-mnist.yaml"), changes


def file_name(name):
    return "".join(c if c.isalnum() else "-" for c in name).strip("-")


def peaks(folder, seen):
    """The most memory each trainer of a run has held so far, in bytes, by process."""
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
            if "trainer" in words and folder in words:
                with open(f"/proc/{process}/status") as file:
                    seen[process] = max(seen.get(process, 0), *(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:")))
        except (OSError, ValueError, TypeError):
            continue  # it ended meanwhile


def sets(changes):
    return [word for change in changes for word in ("--set", change)]


def measure(name, recipe, changes, seconds):
    folder = os.path.join(KEPT, "run-" + file_name(name))
    command = DARKMATTER + ["pretrain", "--recipe", recipe, "--run", "bench-" + file_name(name), "--output", folder, "--overwrite", "--trainers", "2",
                            "--seconds", str(seconds), "--no-evaluation", "--json", *sets(changes)]
    log = os.path.join(KEPT, file_name(name) + ".log")
    memory = {}
    with open(log, "w") as errors:
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        while child.poll() is None:
            peaks(folder, memory)
            time.sleep(0.5)
        summary = child.stdout.read()
        if child.returncode != 0:
            # A control may end by itself; its last checkpoint is judged all the same.
            print(f"{name}: pretrain ended with exit code {child.returncode}, see {log}", file=sys.stderr)
            return {"name": name, "failed": open(log).read().strip().splitlines()[-1:]}
        summary = json.loads(summary)
        evaluated = subprocess.run(DARKMATTER + ["evaluate", "--weights", folder, "--linear", "--json"], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
    if evaluated.returncode != 0:
        raise SystemExit(f"{name}: evaluate ended with exit code {evaluated.returncode}, see {log}")
    shutil.rmtree(os.path.join(folder, "checkpoints"), ignore_errors=True)
    return {"name": name, "control": bool(changes), "seconds": seconds, "memory": sum(memory.values()), "health": (summary.get("health") or "").split(":")[0],
            **{key: summary[key] for key in ("steps", "epochs", "images_per_second")}, **json.loads(evaluated.stdout)}


def hardware():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(": ")[1].strip() for line in file if line.startswith("model name")), "unknown")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return f"{model}, {os.cpu_count()} cores; commit {commit}"


def write():
    done = [json.load(open(path)) for path in sorted(glob.glob(os.path.join(KEPT, "*.json")))]
    lines = ["# Methods on Fashion-MNIST", "",
             "Written by `make bench-methods`: every recipe trains for the same time with two trainers, and is judged on the 10,000 test images, which nothing was",
             "chosen on: by its nearest neighbours (k = 200), and by a linear classifier whose weight decay was chosen on a held-out sixth of the training images.", "",
             f"Hardware: {hardware()}.", "", "| method | time | steps | images/s | kNN | linear | peak memory | embeddings |", "|---|---|---|---|---|---|---|---|"]
    for row in sorted((row for row in done if "failed" not in row), key=lambda row: (row["control"], -row["knn"])):
        name = f"*{row['name']}* (control)" if row["control"] else row["name"]
        lines.append(f"| {name} | {row['seconds']} s | {row['steps']:,} | {row['images_per_second']:,.0f} | {100 * row['knn']:.2f} % | {100 * row['linear']:.2f} % "
                     f"| {row['memory'] / 2**20:,.0f} MiB | {row['health']} |")
    lines += [f"| *{row['name']}* | | | | {' '.join(row['failed'])} | | | |" for row in done if "failed" in row]
    if raw := next((row["knn_raw_pixels"] for row in done if "knn_raw_pixels" in row), None):
        lines.append(f"| raw pixels | | | | {100 * raw:.2f} % | | | |")
    lines += ["", "Linear accuracy is a lower bound of what the features hold: one classifier, no augmentation. Memory is that of both trainers together."]
    with open(DOCS, "w") as file:
        file.write("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="time for each method, from the first process to the last checkpoint")
    parser.add_argument("--only", default="", help="names, with commas between them")
    parser.add_argument("--controls", action="store_true", help="also what must fail to learn")
    parser.add_argument("--again", action="store_true", help="train those too that have a result")
    options = parser.parse_args()
    os.makedirs(KEPT, exist_ok=True)
    only = {name.strip() for name in options.only.split(";" if ";" in options.only else ",") if name.strip()}
    for name, recipe, changes in rows():
        result = os.path.join(KEPT, file_name(name) + ".json")
        if (only and name not in only) or (changes and not (options.controls or name in only)) or (os.path.exists(result) and not options.again):
            continue
        print(f"{name}: {options.seconds} s", flush=True)
        row = measure(name, recipe, changes, options.seconds)
        with open(result + ".tmp", "w") as file:
            json.dump(row, file, indent=1)
        os.replace(result + ".tmp", result)
        write()
        print(json.dumps(row), flush=True)
    write()


if __name__ == "__main__":
    main()
