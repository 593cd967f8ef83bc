"""`compute-sanitizer` around a small sample: every kernel in both precisions, on small shapes."""
from __future__ import annotations

import glob
import json
import os
import re
import shutil

import machine

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
# The test, wherever it is.
SAMPLE = "checks_have_nothing_to_report"
SUMMARY = re.compile(r"^=+ ((?:ERROR|RACECHECK) SUMMARY: .*)$", re.MULTILINE)
FOUND = 99


def find(commands, python):
    """The tool, or the reason why there is none."""
    folders = machine.toolkit_folders("bin", "compute-sanitizer")
    for packages in machine.package_folders(commands, python):
        folders += glob.glob(os.path.join(packages, "nvidia", "*", "bin"))
        folders += glob.glob(os.path.join(packages, "nvidia", "*", "compute-sanitizer"))
    places = [shutil.which("compute-sanitizer"), *(shutil.which("compute-sanitizer", path=f) for f in folders)]
    tool = next((place for place in places if place), None)
    return tool, None if tool else "compute-sanitizer was not found; it comes with the CUDA toolkit"


def run(commands, tool, signet, tests_folder, tests, environment):
    """Runs each check; one that finds something, or does not end, makes the part fail."""
    sample = next(((name, test) for name, all in tests.items() for test in all if test.split("::")[-1] == SAMPLE), None)
    if not sample:
        return {"ok": False, "problem": f"no binary has the test {SAMPLE}", "tools": []}
    # Debug builds fill new memory, which hides from initcheck what is read before it is written.
    environment = dict(environment, SIGNET_FILL_MEMORY="0")
    # A machine may have the tool and not let it work: there is nothing to learn from it then.
    probe = commands.run([tool, "--tool", "memcheck", signet, "devices", "--json"], commands.left() / 4, environment)
    if not (probe.ok and SUMMARY.search(probe.output + probe.errors) and sees_a_gpu(probe.output)):
        said = (probe.output + probe.errors).strip()[-600:]
        return {"ok": None, "skipped": f"{tool} does not work on this machine: {probe.ending()}: {said}"}
    command = [os.path.join(tests_folder, sample[0]), "--exact", "--test-threads=1", sample[1]]
    results = []
    for i, name in enumerate(TOOLS):
        limit = commands.left() / (len(TOOLS) - i)
        done = commands.run([tool, "--tool", name, "--error-exitcode", FOUND, *command], limit, environment)
        summary = SUMMARY.findall(done.output + done.errors)
        said = summary[-1] if summary else done.ending()
        # Without a summary the tool did not look, whatever its exit code.
        ok = done.ok and bool(summary) and f"test {sample[1]} ... ok" in done.output
        results.append({"tool": name, "ok": ok, "summary": said, "seconds": done.seconds})
        print(f"  {name:<10} {'clean' if ok else 'NOT CLEAN'}: {said}, {done.seconds:.1f} s", flush=True)
    return {"ok": all(one["ok"] for one in results), "problem": None, "sample": " ".join(sample), "tools": results}


def sees_a_gpu(output):
    """What `signet devices --json` says among the lines of the tool."""
    try:
        report = json.loads("\n".join(line for line in output.splitlines() if not line.startswith("=")))
    except ValueError:
        return False
    return bool(report.get("gpus")) and not report.get("no_gpu")
