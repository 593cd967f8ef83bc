"""The same training step by PyTorch, in turns with the engine, as ratios of the same round."""
from __future__ import annotations

import json
import math
import os
import statistics

import machine
from train import BATCH

MODES = ("graph", "eager", "notebook")
PROBE = "import torch; print(torch.__version__, torch.cuda.is_available())"


def find(commands, chosen):
    """A Python whose PyTorch sees the GPU, or the reason why there is none."""
    reason = "no Python has PyTorch"
    for python in machine.pythons(chosen):
        done = commands.run([python, "-c", PROBE], 90)
        words = done.output.split()
        if done.ok and len(words) == 2:
            if words[1] == "True":
                return python, None
            reason = f"PyTorch {words[0]} of {python} sees no GPU"
    return None, reason


def run(trainer, script, python, steps, rounds, scratch):
    """Rounds of one measurement each; a round that is not complete counts as nothing.

    That PyTorch fails is no failure of the check, that the engine does is one.
    """
    commands = trainer.commands
    complete = []
    problem = None
    for number in range(rounds):
        round_seconds = {}
        before = commands.left()
        engine = trainer.run("cuda", 3)
        if not engine.done.ok:
            return {"ok": False, "problem": f"signet: {engine.why()}"}
        round_seconds["signet"] = engine.seconds() / math.ceil(engine.images() / BATCH)
        for mode in MODES:
            file = os.path.join(scratch, "pytorch.json")
            data = ["--random"] if trainer.data == "synthetic" else ["--data", trainer.data]
            command = [python, script, "--mode", mode, "--device", "cuda", "--batch", BATCH, "--steps", steps]
            done = commands.run([*command, "--json", file, *data])
            if not done.ok:
                problem = f"PyTorch, {mode}: {done.ending()}: {done.errors.strip()[-600:]}"
                break
            with open(file, encoding="utf-8") as text:
                figures = json.load(text)
            round_seconds[mode], version = figures["step_s"], figures["torch"]
        if len(round_seconds) <= len(MODES):
            break
        complete.append(round_seconds)
        told = ", ".join(f"{name} {seconds * 1e6:.0f}" for name, seconds in round_seconds.items())
        print(f"  round {number + 1}, us a step: {told}", flush=True)
        if commands.left() < 1.2 * (before - commands.left()):
            break
    if not complete:
        reason = problem or "there was no time for a round"
        print(f"  {reason}", flush=True)
        return {"ok": None, "skipped": reason}
    ratios = {mode: spread([one[mode] / one["signet"] for one in complete]) for mode in MODES}
    return {
        "ok": True, "torch": version, "steps": steps, "problem": problem,
        "rounds": complete, "ratios": ratios, "clocks_after": machine.clocks(commands),
    }


def spread(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}
