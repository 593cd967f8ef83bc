"""The same training step by PyTorch, in turns with the engine, as ratios of the same round."""
from __future__ import annotations

import json
import statistics

import machine
from train import BATCH, SHORT

MODES = ("graph", "eager", "notebook")
PROBE = "import torch; print(torch.__version__, torch.cuda.is_available())"


def find(commands, chosen):
    """A Python whose PyTorch sees the GPU, or the reason why there is none."""
    reason = "no Python has PyTorch"
    for python in machine.pythons(chosen):
        done = commands.run([python, "-c", PROBE], 60)
        words = done.output.split()
        if done.ok and len(words) == 2:
            if words[1] == "True":
                return python, None
            reason = f"PyTorch {words[0]} of {python} sees no GPU"
        elif done.code is None:
            reason = f"PyTorch of {python}: {done.why()}"
    return None, reason


def run(trainer, script, python, steps, rounds):
    """Rounds of one measurement each; a mode that is missing in one counts as nothing there.

    That PyTorch fails is no failure of the check, that the engine does is one.
    """
    commands = trainer.commands
    complete, problem, version = [], None, None
    for number in range(rounds):
        before = commands.left()
        engine = trainer.run("cuda", SHORT + 1)
        if not engine.ok:
            if complete:
                problem = f"signet: {engine.why()}"
                break
            return {"ok": False, "problem": f"signet: {engine.why()}"}
        seconds = {"signet": engine.step()}
        command = [python, script, "--modes", ",".join(MODES), "--batch", BATCH, "--steps", steps]
        done = commands.run(command)
        for line in done.output.splitlines():
            figures = json.loads(line) if line.startswith("{") and line.endswith("}") else {}
            version = figures.get("torch", version)
            if "step_s" in figures:
                seconds[figures["mode"]] = figures["step_s"]
            elif "error" in figures:
                problem = f"PyTorch, {figures['mode']}: {figures['error']}"
        if not done.ok:
            problem = f"PyTorch: {done.why()}"
        if len(seconds) > 1:
            complete.append(seconds)
            told = ", ".join(f"{name} {value * 1e6:.0f}" for name, value in seconds.items())
            print(f"  round {number + 1}, us a step: {told}", flush=True)
        if not done.ok or commands.left() < 1.2 * (before - commands.left()):
            break
    if not complete:
        return {"ok": None, "skipped": problem or "there was no time for a round"}
    ratios = {
        mode: spread([one[mode] / one["signet"] for one in complete if mode in one])
        for mode in MODES if any(mode in one for one in complete)
    }
    return {
        "ok": True, "torch": version, "steps": steps, "problem": problem,
        "rounds": complete, "ratios": ratios, "clocks_after": machine.clocks(commands),
    }


def spread(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}
