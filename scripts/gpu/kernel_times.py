"""The time of each kernel of a training step: by the program itself, and by `ncu` where it works."""
from __future__ import annotations

import csv
import glob
import io
import json
import os
import shutil

import machine

# Two steps, after the tenth: clocks are up, caches as in training.
WARM_STEPS, STEPS = 10, 2
# If the plan cannot be had.
USUAL_LAUNCHES = 24
SECTIONS = ("SpeedOfLight", "Occupancy", "LaunchStats", "WarpStateStats")
TIME = "gpu__time_duration.sum"
STALL = ("smsp__average_warps_issue_stalled_", "_per_issue_active.ratio")
SECONDS = {"nsecond": 1e-9, "ns": 1e-9, "usecond": 1e-6, "us": 1e-6, "msecond": 1e-3, "ms": 1e-3, "second": 1.0, "s": 1.0}


def find(commands, python):
    """`ncu`, or the reason why there is none."""
    folders = sorted(glob.glob("/opt/nvidia/nsight-compute/*"), reverse=True)
    folders += machine.toolkit_folders("bin", "nsight-compute*")
    for packages in machine.package_folders(commands, python):
        folders += glob.glob(os.path.join(packages, "nvidia", "*", "bin"))
    places = [shutil.which("ncu"), *(shutil.which("ncu", path=folder) for folder in folders)]
    tool = next((place for place in places if place), None)
    return tool, None if tool else "ncu was not found; it comes with the CUDA toolkit"


def run(trainer, tool, reason, scratch, out):
    """Both measurements. That `ncu` does not work is no failure of the check."""
    commands = trainer.commands
    plan, problem = plan_of_a_step(trainer)
    profiles = {}
    for name, more in (("tf32", ()), ("f32", ("--precision", "f32"))):
        command, folder = trainer.command("cuda", 1, "--profile", *more)
        # What is left is for the second measurement.
        done = commands.run(command, commands.left() * 0.4, trainer.environment)
        if not done.ok:
            problem = f"signet train --profile: {done.why()}"
            break
        with open(os.path.join(folder, "profile.json"), encoding="utf-8") as file:
            profiles[name] = json.load(file)
        told = sum(kernel["seconds"] for kernel in profiles[name])
        print(f"  --profile, {name}: {len(profiles[name])} kernels, {told:.3f} s", flush=True)
    launches = []
    if tool:
        launches, reason = under_ncu(trainer, tool, len(plan) or USUAL_LAUNCHES, scratch, out)
    if launches:
        told = sum(launch["seconds"] for launch in launches) / STEPS
        print(f"  ncu: {len(launches)} launches, {told * 1e6:.1f} us of kernels a step", flush=True)
    else:
        print(f"  no ncu: {reason}", flush=True)
    return {
        "ok": bool(profiles), "problem": problem, "plan": plan, "profiles": profiles,
        "ncu": launches, "no_ncu": None if launches else reason, "clocks_after": machine.clocks(commands),
    }


def plan_of_a_step(trainer):
    """The kernels of a step in order, with what they cost at least; or what went wrong."""
    arguments = ["train", "--explain", "--json", "--device", "cuda"]
    done = trainer.commands.run([trainer.signet, *arguments], trainer.commands.left() / 4, trainer.environment)
    if not done.ok:
        return [], f"signet train --explain: {done.why()}"
    return json.loads(done.output)["kernels"], None


def under_ncu(trainer, tool, launches, scratch, out):
    """Some launches of a training whose kernels are launched one by one, or why there are none."""
    command, _ = trainer.command("cuda", 1, "--no-graph", "--quiet")
    text = os.path.join(out, "ncu.csv")
    options = ["--clock-control", "none", "--cache-control", "none"]
    options += ["--launch-skip", WARM_STEPS * launches, "--launch-count", STEPS * launches]
    options += [word for section in SECTIONS for word in ("--section", section)]
    options += ["--csv", "--page", "raw", "--print-units", "base", "--log-file", text]
    environment = dict(trainer.environment, TMPDIR=scratch)
    done = trainer.commands.run([tool, *options, *command], environment=environment)
    try:
        with open(text, encoding="utf-8", errors="replace") as file:
            said = file.read()
    except OSError:
        said = ""
    found = parse(said)
    if found:
        return found, None
    return [], f"{tool}: {done.ending()}: {(said or done.errors or done.output).strip()[-600:]}"


def parse(text):
    """The launches in what `ncu --csv --page raw` says: a row of names, one of units, then launches."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        return []
    table = [row for row in csv.reader(io.StringIO("\n".join(lines[start:]))) if row]
    names, rows = table[0], [row for row in table[1:] if len(row) == len(table[0])]
    if len(rows) < 2 or TIME not in names:
        return []
    units = dict(zip(names, rows[0]))
    launches = []
    for row in rows[1:]:
        cells = dict(zip(names, row))
        seconds = number(cells.get(TIME))
        if seconds is None:
            continue
        stalls = {
            name[len(STALL[0]):-len(STALL[1])]: number(value)
            for name, value in cells.items() if name.startswith(STALL[0]) and name.endswith(STALL[1])
        }
        stalls = sorted(((value, name) for name, value in stalls.items() if value), reverse=True)[:3]
        launches.append({
            "name": cells.get("Kernel Name", "?").split("(")[0],
            "grid": cells.get("Grid Size", ""), "block": cells.get("Block Size", ""),
            "seconds": seconds * SECONDS.get(units[TIME], 1e-9),
            "registers": number(cells.get("launch__registers_per_thread")),
            "occupancy": number(cells.get("sm__warps_active.avg.pct_of_peak_sustained_active")),
            "stalls": [f"{name} {value:.1f}" for value, name in stalls],
        })
    return launches


def number(text):
    """A number as ncu writes it, or None."""
    try:
        return float((text or "").replace(",", ""))
    except ValueError:
        return None
