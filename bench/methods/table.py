#!/usr/bin/env python3
"""Every method on Fashion-MNIST for the same time, on the same backbone, with two trainers; and what must fail to learn.

    make bench-methods [ARGS="--seconds 600 --only 'simclr;byol' --controls --again"]

For each recipe recipes/*-fashion-mnist.yaml: time TIMED steps on the otherwise idle machine; pretrain for the steps that it makes at that rate in
SECONDS, so that other work on the machine costs time and not accuracy; then `darkmatter evaluate --linear`: kNN and linear accuracy on the test images.
The rate and the result of a method are kept in docs/benchmarks/methods/, and neither is measured again unless --again, so the table can be made in
as many sittings as it takes. docs/benchmarks/methods.md is written anew after each method. A method that cannot be timed is named, and the exit code is 1.
Peak memory is the sum over both trainers of VmHWM as the kernel counts it, read every half second: pages that both share count twice.
"""
import argparse
import csv
import glob
import json
import os
import shutil
import subprocess
import sys
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
KEPT = os.path.join(ROOT, "docs", "benchmarks", "methods")
DOCS = KEPT + ".md"
RUNS = os.path.join(ROOT, "artifacts", "bench", "methods")
DARKMATTER = ["dotnet", os.path.join(ROOT, "artifacts", "bin", "Trainer", "release", "darkmatter.dll")]
LABELED = ["--set", f"data.dataset={ROOT}/artifacts/datasets/fashion-mnist/train", "--set", "data.source.images=0"]    # neighbours: all images, also where fewer are trained on
TIMED = 120           # steps of which the later half is timed
TIMED_OF = {"deepcluster-v2": 470}    # two epochs, for the first trains nothing; the clusters' seconds, once an epoch, are in the later half
BATCH = 256           # of every recipe for Fashion-MNIST
PATIENCE = "4h"       # a busy machine may take this long

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
    """Name, recipe and changes of every row; a control runs at its method's rate."""
    for path in sorted(glob.glob(os.path.join(ROOT, "recipes", "*-fashion-mnist.yaml"))):
        yield os.path.basename(path).removesuffix("-fashion-mnist.yaml"), path, []
    for recipe, name, changes in CONTROLS:
        yield name, os.path.join(ROOT, "recipes", f"{recipe}-fashion-mnist.yaml"), changes


def file_name(name):
    return "-".join("".join(c if c.isalnum() else " " for c in name).split())


def peaks(folder, seen):
    """The most memory each trainer of a run has held so far, in bytes, by its rank's name."""
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
            if "trainer" in words and folder in words:
                who = words[words.index("--name") + 1] if "--name" in words else process
                with open(f"/proc/{process}/status") as file:
                    seen[who] = max(seen.get(who, 0), *(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:")))
        except (OSError, ValueError, TypeError, IndexError):
            continue  # it ended meanwhile


def pretrain(name, recipe, changes, steps):
    """Trains; the run's folder, its exit code, what it says of itself, and the trainers' peak memory."""
    folder = os.path.join(RUNS, "run-" + file_name(name))
    command = DARKMATTER + ["pretrain", "--recipe", recipe, "--run", "bench-" + file_name(name), "--output", folder, "--overwrite", "--trainers", "2",
                            "--seconds", PATIENCE, "--no-evaluation", "--json"]
    for change in [f"train.max_steps={steps}", "train.epochs=1000", *changes]:
        command += ["--set", change]
    memory = {}
    with open(os.path.join(RUNS, file_name(name) + ".log"), "w") as errors:
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        while child.poll() is None:
            peaks(folder, memory)
            time.sleep(0.5)
        return folder, child.returncode, child.stdout.read(), sum(memory.values())


def steps_of(folder):
    with open(os.path.join(folder, "steps.csv")) as file:
        return list(csv.DictReader(file))


def rate(name, recipe):
    """Images a second on the idle machine in the later half of the timed steps."""
    timed = TIMED_OF.get(name, TIMED)
    load = os.getloadavg()[0]
    folder, code, _, _ = pretrain(name + " rate", recipe, [], timed)
    if code != 0:
        print(f"{name}: pretrain ended with exit code {code}, see {RUNS}/{file_name(name + ' rate')}.log", flush=True)
        return None
    later = [float(step["seconds"]) for step in steps_of(folder)[timed // 2:]]
    shutil.rmtree(folder)
    return {"images_per_second": round(BATCH * len(later) / sum(later), 1), "timed_steps": len(later), "load_before": round(load, 2), **measured_on()}


def measure(name, recipe, changes, seconds, images_per_second):
    steps = int(seconds * images_per_second / BATCH)
    folder, code, said, memory = pretrain(name, recipe, changes, steps)
    made = len(steps_of(folder)) if os.path.exists(os.path.join(folder, "steps.csv")) else 0
    row = {"name": name, "control": bool(changes), "seconds": seconds, "steps": made, "images_per_second": images_per_second, "memory": memory, **measured_on()}
    if code == 0:
        row["health"] = (json.loads(said).get("health") or "").split(":")[0]
    else:
        with open(os.path.join(RUNS, file_name(name) + ".log")) as log:
            row["ended"] = next((line.strip() for line in reversed(log.readlines()) if line.startswith("darkmatter")), f"exit code {code}")
    # A control may end by itself; its newest checkpoint is judged all the same.
    if glob.glob(os.path.join(folder, "checkpoints", "*", "manifest.json")):
        with open(os.path.join(RUNS, file_name(name) + ".evaluate.log"), "w") as errors:
            evaluated = subprocess.run(DARKMATTER + ["evaluate", "--weights", folder, "--linear", "--json", *LABELED], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        if evaluated.returncode == 0:
            row.update(json.loads(evaluated.stdout))
        else:
            row.setdefault("ended", f"evaluate ended with exit code {evaluated.returncode}")
    shutil.rmtree(os.path.join(folder, "checkpoints"), ignore_errors=True)
    return row


def measured_on():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(": ")[1].strip() for line in file if line.startswith("model name")), "unknown")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {"hardware": f"{model}, {os.cpu_count()} cores", "commit": commit}


def percent(row, key):
    return f"{100 * row[key]:.2f} %" if key in row else "–"


def write():
    done = [json.load(open(path)) for path in sorted(glob.glob(os.path.join(KEPT, "*.json"))) if not path.endswith(".rate.json")]
    raw = max((row["knn_raw_pixels"] for row in done if "knn_raw_pixels" in row), default=0)
    lines = ["# Methods on Fashion-MNIST", "",
             "Written by `make bench-methods`, and for the controls by `make bench-methods ARGS=\"--controls --seconds 90\"`: every recipe trains for the same time with two trainers, each on one core, and is judged on the 10,000 test",
             "images: by its nearest neighbours among all 60,000 training images (k = 200, τ = 0.1), and by a linear classifier on frozen features",
             "whose weight decay was chosen on a held-out sixth of the training images. The time is that of an idle machine: a method makes the steps that it makes there in that time,",
             f"at the rate of the column images/s, timed before over {TIMED // 2} steps (DeepCluster-v2: over an epoch, with its clustering). One seed each: a difference of a point between two rows means nothing.",
             "Recipes were chosen by shorter runs' linear accuracy on held-out training images, but their kNN on test images was seen with it, and PIRL was given fewer training",
             "images because its test kNN with all of them stayed below raw pixels: take kNN as slightly optimistic. A rate is timed once, and is no better than the machine is idle.", "",
             f"Hardware: {'; '.join(sorted({row['hardware'] for row in done}))}. Commits: {', '.join(sorted({row['commit'] for row in done}))}.", "",
             "| method | training | steps | images/s | kNN | linear | peak memory | embeddings |", "|---|---|---|---|---|---|---|---|"]
    for row in sorted(done, key=lambda row: (row["control"], -row.get("knn", 0))):
        name = f"*{row['name']}* (control)" if row["control"] else row["name"]
        below = " (below raw pixels)" if row.get("knn", 0) <= raw else ""
        lines.append(f"| {name} | {row['seconds']} s | {row['steps']:,} | {row['images_per_second']:,.0f} | {percent(row, 'knn')}{below} | {percent(row, 'linear')} "
                     f"| {row['memory'] / 2**20:,.0f} MiB | {row.get('health') or row.get('ended', '')} |")
    linear = next((f"{100 * row['linear_raw_pixels']:.2f} %" for row in done if "linear_raw_pixels" in row), "")
    lines += [f"| raw pixels | | | | {100 * raw:.2f} % | {linear} | | |", "",
              "`seer` is SwAV's loss on a RegNetY, all others train the same ResNet-18 of width 16. `pirl` trains on 12,000 of the 60,000 images: its recipe says why. Memory is that of both trainers together; pages that they share count twice. "
              "Where a control trains for less time, look at whether its embeddings hold and at chance (10 %), not at the rows of more time. `swav` without normalised prototypes need not fail "
              "at its recipe's rate: tests/Trainer.Tests/Methods/NegativeControlTests.cs shows that it diverges at a higher one."]
    with open(DOCS, "w") as file:
        file.write("\n".join(lines) + "\n")


def keep(name, ending, value):
    path = os.path.join(KEPT, file_name(name) + ending)
    with open(path + ".tmp", "w") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
    os.replace(path + ".tmp", path)


def kept(name, ending, again):
    path = os.path.join(KEPT, file_name(name) + ending)
    return json.load(open(path)) if os.path.exists(path) and not again else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="training time of each method on an idle machine")
    parser.add_argument("--only", default="", help="names of rows, with semicolons between them")
    parser.add_argument("--controls", action="store_true", help="also what must fail to learn")
    parser.add_argument("--rates", action="store_true", help="only time the methods; wants an idle machine")
    parser.add_argument("--again", action="store_true", help="measure those too that have a result")
    options = parser.parse_args()
    os.makedirs(KEPT, exist_ok=True)
    os.makedirs(RUNS, exist_ok=True)
    only = {name.strip() for name in options.only.split(";") if name.strip()}
    if unknown := only - {name for name, _, _ in rows()}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {'; '.join(name for name, _, _ in rows())}")
    failed = set()
    for name, recipe, changes in rows():
        if (only and name not in only) or (changes and not (options.controls or name in only)):
            continue
        method = os.path.basename(recipe).removesuffix("-fashion-mnist.yaml")
        pace = kept(method, ".rate.json", options.again and options.rates)
        if pace is None:
            pace = rate(method, recipe)
            if pace is None:
                failed.add(method)
                continue
            keep(method, ".rate.json", pace)
            print(f"{method}: {pace['images_per_second']:,.0f} images/s (load before: {pace['load_before']})", flush=True)
        if options.rates or kept(name, ".json", options.again) is not None:
            continue
        print(f"{name}: {options.seconds} s at {pace['images_per_second']:,.0f} images/s", flush=True)
        row = measure(name, recipe, changes, options.seconds, pace["images_per_second"])
        keep(name, ".json", row)
        write()
        print(json.dumps(row), flush=True)
    write()
    if failed:
        raise SystemExit(f"not timed: {', '.join(sorted(failed))}")


if __name__ == "__main__":
    main()
