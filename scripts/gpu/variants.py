"""Variants of the kernels, timed in turns: which constants and which code are fastest on this GPU.

A variant is a folder with `variant.json`: what it is `about`, the variables of `env`, and `edits`, pieces
of text in kernels that are replaced. Where the bundle is made the edits are applied to a copy of the
kernels, `kernels/` beside it, which the program takes by SIGNET_KERNELS_DIR.
"""
from __future__ import annotations

import json
import math
import os
import shutil
import statistics

import machine
from train import LOSS_BOUND, SHORT

BASELINE = "baseline"
# In the order in which they are measured.
PRECISIONS = {"tf32": (), "f32": ("--precision", "f32")}
KEYS = {"about", "env", "edits"}


class Invalid(Exception):
    """A variant that cannot be made."""


def read(folder):
    """What a variant's file says."""
    path = os.path.join(folder, "variant.json")
    try:
        with open(path, encoding="utf-8") as file:
            variant = json.load(file)
    except (OSError, ValueError) as error:
        raise Invalid(f"{path}: {error}") from error
    if not isinstance(variant, dict) or not variant.get("about") or set(variant) - KEYS:
        raise Invalid(f"{path}: wants `about`, and `env` and `edits` if it changes anything")
    return {"env": {}, "edits": [], **variant}


def all_of(folder):
    """The variants of a folder by name, the baseline first."""
    names = sorted(name for name in os.listdir(folder) if os.path.isdir(os.path.join(folder, name)))
    if BASELINE not in names:
        raise Invalid(f"{folder}: there is no {BASELINE}")
    names.sort(key=lambda name: name != BASELINE)
    return {name: read(os.path.join(folder, name)) for name in names}


def make(variant, kernels, target):
    """Copies the kernels to `target` with the variant's edits."""
    shutil.copytree(kernels, target)
    for edit in variant["edits"]:
        path = os.path.join(target, edit["file"])
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise Invalid(str(error)) from error
        found, wanted = text.count(edit["find"]), edit.get("times", 1)
        if found != wanted:
            raise Invalid(f"{edit['file']}: {edit['find']!r} occurs {found} times, not {wanted}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(edit["find"], edit["replace"]))


def run(trainer, folder, tests_folder, tests, rounds):
    """Trains with each variant in turns; then the tests of kernels with those that changed code."""
    commands = trainer.commands
    variants = all_of(folder)
    environments = {name: environment(trainer.environment, folder, name, one) for name, one in variants.items()}
    steps = {name: {precision: [] for precision in PRECISIONS} for name in variants}
    losses = {name: {} for name in variants}
    problems = {}
    for _ in range(rounds):
        before = commands.left()
        for precision, more in PRECISIONS.items():
            for name in variants:
                if name in problems:
                    continue
                run = trainer.run("cuda", SHORT + 1, *more, environment=environments[name])
                if run.ok:
                    steps[name][precision].append(run.step())
                    losses[name][precision] = run.epochs[0]["train_loss"]
                elif commands.left() > 0:
                    problems[name] = run.why()
                    print(f"  {name}: {problems[name]}", flush=True)
        if commands.left() < 2 * (before - commands.left()):
            break
    rows = []
    for name, one in variants.items():
        row = {"name": name, "about": one["about"], "problem": problems.get(name), "step_seconds": {}, "ratio": {}}
        for precision, times in steps[name].items():
            if times:
                row["step_seconds"][precision] = statistics.median(times)
                row["rounds"] = len(times)
            base = steps[BASELINE][precision]
            # Times of the same round: clocks rise and fall for all of them.
            pairs = [base_time / time for base_time, time in zip(base, times)]
            if pairs:
                row["ratio"][precision] = statistics.median(pairs)
        # It adds in another order at most.
        row["same_loss"] = all(
            abs(loss - losses[BASELINE].get(precision, math.inf)) <= LOSS_BOUND * loss
            for precision, loss in losses[name].items()
        ) if losses[name] else None
        rows.append(row)
    for row in rows:
        row["tests"] = None
        if variants[row["name"]]["edits"] and row["step_seconds"] and commands.left() > 0:
            row["tests"] = kernel_tests(commands, tests_folder, tests, environments[row["name"]])
    for row in rows:
        told = ", ".join(
            f"{precision} {seconds * 1e6:.1f} us a step ({row['ratio'].get(precision, math.nan):.3f} x)"
            for precision, seconds in row["step_seconds"].items()
        )
        print(f"  {row['name']:<16} {told or row['problem'] or 'no time'}", flush=True)
    measured = [row for row in rows if "tf32" in row["ratio"] and row["same_loss"]]
    best = max(measured, key=lambda row: row["ratio"]["tf32"], default=None)
    result = {
        "ok": bool(rows[0]["step_seconds"]), "rows": rows, "best": best and best["name"], "profiles": {},
        "problem": None if rows[0]["step_seconds"] else problems.get(BASELINE, "there was no time"),
        "clocks_after": machine.clocks(commands),
    }
    if best:
        result["profiles"] = profiles(trainer, dict.fromkeys([BASELINE, best["name"]]), environments)
    return result


def environment(base, folder, name, variant):
    kernels = os.path.join(folder, name, "kernels")
    return {**base, **variant["env"], **({"SIGNET_KERNELS_DIR": kernels} if os.path.isdir(kernels) else {})}


def profiles(trainer, names, environments):
    """The time of each kernel, of the baseline and of the fastest."""
    found = {}
    for name in names:
        command, folder = trainer.command("cuda", 1, "--profile")
        if trainer.commands.run(command, environment=environments[name]).ok:
            with open(os.path.join(folder, "profile.json"), encoding="utf-8") as file:
                found[name] = json.load(file)
    return found


def kernel_tests(commands, folder, tests, environment):
    """Whether changed kernels still compute the same; a test binary takes kernels by the same variable."""
    wanted = [(name, test) for name, all in tests.items() for test in all if "agrees_with_the_cpu::" in test]
    for name in dict.fromkeys(name for name, _ in wanted):
        some = [test for binary, test in wanted if binary == name]
        done = commands.run([os.path.join(folder, name), "--exact", *some], environment=environment)
        if not done.ok:
            return "not finished" if done.code is None else "FAILED"
    return "passed" if wanted else None
