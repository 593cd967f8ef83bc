#!/usr/bin/env python3
"""Checks Signet on the GPU of this machine; Python 3.8 or newer and NVIDIA's driver are enough.

  python3 run.py                          everything, in 12 minutes
  python3 run.py --only train,tests       some parts
  python3 run.py --data DIR               train on your sign_mnist_train.csv and sign_mnist_valid.csv

Parts, in this order: train, pytorch, kernels, tests, stress, sanitizer, variants, bench, long. Each has a share of
the time that is left; one that uses up its share is stopped, and the others run. Results go to $OUT, or
./gpu-check-results: results.md, results.json, log.txt with what was said, and ncu.csv. Exit code 0: all
that was asked for passed; 1: something failed or was not finished; 2: there is no GPU to check, or wrong use.
"""
from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback

sys.dont_write_bytecode = True

import bench
import kernel_times
import machine
import pytorch
import report
import sanitizer
import stress
import tests
import train
import variants
from commands import Commands

ROOT = os.path.dirname(os.path.abspath(__file__))
# The most valuable first; the number says how the time that is left is shared among those still to
# come: about the seconds that each wants.
PARTS = {
    "train": 60, "pytorch": 80, "kernels": 60, "tests": 120, "stress": 50, "sanitizer": 70,
    "variants": 100, "bench": 90, "long": 90,
}
# Kept back for ending and writing.
RESERVE_SECONDS = 10
# Of all time, for finding out what the machine is, at most.
FINDING_SHARE = 0.2


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    packed = os.path.join(ROOT, "data")
    data = packed if os.path.isdir(packed) else "synthetic"
    parser.add_argument("--only", metavar="PARTS", default=",".join(PARTS), help="comma-separated [default: all]")
    parser.add_argument("--data", metavar="synthetic|DIR", default=data, help="[default: %(default)s]")
    parser.add_argument("--minutes", type=float, default=12, help="all ends before [default: 12]")
    parser.add_argument("--epochs", type=int, default=20, help="of the long training [default: 20]")
    parser.add_argument("--steps", type=int, default=200, help="of a measurement of PyTorch [default: 200]")
    parser.add_argument("--rounds", type=int, default=3, help="at most, against PyTorch and of variants [default: 3]")
    parser.add_argument("--quick", action="store_true", help="small benchmarks: whether they run, not how fast")
    parser.add_argument("--python", metavar="FILE", help="a Python that has PyTorch or nvidia-cuda-nvrtc")
    parser.add_argument("--nvrtc", metavar="DIR", help="the folder of libnvrtc.so [default: searched for]")
    parser.add_argument("--out", metavar="DIR", default=os.environ.get("OUT") or "gpu-check-results")
    given = parser.parse_args()
    given.only = [part for part in given.only.split(",") if part]
    unknown = [part for part in given.only if part not in PARTS]
    if unknown or not given.only:
        parser.error(f"--only takes some of {','.join(PARTS)}, not {','.join(unknown) or 'nothing'}")
    # Programs run elsewhere than where these were named.
    given.python = given.python and os.path.abspath(shutil.which(given.python) or given.python)
    given.nvrtc = given.nvrtc and os.path.abspath(given.nvrtc)
    if given.data != "synthetic":
        given.data = os.path.abspath(given.data)
        if not os.path.isdir(given.data):
            parser.error(f"--data: there is no folder {given.data}")
    for number in ("minutes", "epochs", "steps", "rounds"):
        if getattr(given, number) <= 0:
            parser.error(f"--{number} must be more than 0")
    return given


def main():
    given = arguments()
    given.out = os.path.abspath(given.out)
    os.makedirs(given.out, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="signet-gpu-check-") as scratch:
        seconds = max(1.0, given.minutes * 60 - RESERVE_SECONDS)
        commands = Commands(os.path.join(given.out, "log.txt"), scratch, seconds)
        results = check(given, commands, scratch)
    report.write(given.out, results)
    if results.get("stopped"):
        print(f"\nNothing was checked: {results['stopped']}", file=sys.stderr)
        return 2
    print(f"\n{'PASSED' if results['ok'] else 'NOT PASSED'}; see {os.path.join(given.out, 'results.md')}")
    return 0 if results["ok"] else 1


def check(given, commands, scratch):
    with open(os.path.join(ROOT, "bundle.json"), encoding="utf-8") as file:
        bundle = json.load(file)
    signet = os.path.join(ROOT, "bin", "signet")
    # Compiled kernels go to a fresh folder: the user's cache stays as it is, and the compiler is
    # part of what is checked.
    environment = dict(os.environ, SIGNET_KERNEL_CACHE=os.path.join(scratch, "kernels"))
    commands.begin_part(FINDING_SHARE)
    devices, folders = machine.find(commands, signet, environment, given.nvrtc, given.python)
    environment["LD_LIBRARY_PATH"] = machine.search_path(folders)
    environment["SIGNET_TEST_CUDA"] = "real"
    environment["SIGNET_TEST_FIXTURES"] = os.path.join(ROOT, "fixtures")
    results = {
        "ok": False,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "bundle": {key: bundle[key] for key in ("commit", "rustc", "glibc")},
        "machine": {
            "devices": devices, "nvidia_smi": machine.smi(commands, machine.SMI_FIELDS), "cpu": machine.cpu(),
            "library_folders": folders,
        },
        "parts": {},
    }
    if devices.get("no_gpu") or not devices.get("gpus"):
        results["stopped"] = devices.get("no_gpu") or "no GPU was found"
        return results
    for gpu in devices["gpus"]:
        print(f"{gpu['device']}: {gpu['name']}, compute capability {gpu['compute_capability']}", flush=True)
    print(f"driver for CUDA {devices['driver']['cuda']}, NVRTC {devices['nvrtc']['version']}", flush=True)

    capability = tuple(int(number) for number in devices["gpus"][0]["compute_capability"].split("."))
    trainer = train.Trainer(commands, signet, environment, given.data, scratch, capability)
    parts = parts_of(given, commands, trainer, bundle, scratch)
    chosen = [part for part in PARTS if part in given.only]
    for i, part in enumerate(chosen):
        commands.begin_part(PARTS[part] / sum(PARTS[later] for later in chosen[i:]))
        print(f"\n{part}, at most {commands.left():.0f} s", flush=True)
        result = guarded(parts[part])
        if commands.end_part():
            result["overran"] = True
            print("  its time is up: what had not ended was stopped", flush=True)
        if result["ok"] is None:
            print(f"  skipped: {result['skipped']}", flush=True)
        elif result.get("problem"):
            print(f"  {result['problem']}", flush=True)
        results["parts"][part] = result
        report.write(given.out, results)
    # A part that was skipped is no failure, as what it needs is not on this machine; and no success.
    states = [part["ok"] for part in results["parts"].values()]
    results["ok"] = False not in states and True in states
    return results


def parts_of(given, commands, trainer, bundle, scratch):
    """What each part does. What it needs is looked for within its own time."""
    signet, environment = trainer.signet, trainer.environment
    folder = os.path.join(ROOT, "tests")

    def with_pytorch():
        python, reason = pytorch.find(commands, given.python)
        if not python:
            return {"ok": None, "skipped": reason}
        script = os.path.join(ROOT, "pytorch_modes.py")
        return pytorch.run(trainer, script, python, given.steps, given.rounds)

    def benchmarks():
        python, reason = pytorch.find(commands, given.python)
        return bench.run(trainer, os.path.join(ROOT, "bench-pytorch"), python, reason, given.quick)

    def sanitized():
        tool, reason = sanitizer.find(commands, given.python)
        if not tool:
            return {"ok": None, "skipped": reason}
        return sanitizer.run(commands, tool, signet, folder, bundle["tests"], environment)

    def kernels():
        tool, reason = kernel_times.find(commands, given.python)
        return kernel_times.run(trainer, tool, reason, scratch, given.out)

    return {
        "train": lambda: train.run(trainer, given.epochs),
        "pytorch": with_pytorch,
        "kernels": kernels,
        "tests": lambda: tests.run(commands, folder, bundle["tests"], environment),
        "stress": lambda: stress.run(commands, folder, bundle["tests"], environment),
        "long": lambda: tests.run_long(commands, folder, bundle["ignored"], environment),
        "sanitizer": sanitized,
        "bench": benchmarks,
        "variants": lambda: variants.run(
            trainer, os.path.join(ROOT, "variants"), folder, bundle["tests"], given.rounds
        ),
    }


def guarded(part):
    """A part's result; a fault of this script in one leaves the others their time."""
    try:
        return part()
    except Exception as error:
        traceback.print_exc()
        return {"ok": False, "broken": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    # Who stops this script stops what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
