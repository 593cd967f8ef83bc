"""`compute-sanitizer` around a small sample: every kernel in both precisions, on small shapes."""
from __future__ import annotations

import glob
import os
import re
import shutil

import machine

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
SAMPLE = ["engine", "cuda_ops::checks_have_nothing_to_report"]
SUMMARY = re.compile(r"^=+ ((?:ERROR|RACECHECK) SUMMARY: .*)$", re.MULTILINE)
FOUND = 99


def find(commands, python):
    """The tool, or the reason why there is none."""
    roots = [os.environ.get(variable) for variable in ("CUDA_HOME", "CUDA_PATH")]
    folders = [os.path.join(root, "bin") for root in roots if root]
    folders += sorted(glob.glob("/usr/local/cuda*/bin") + glob.glob("/usr/local/cuda*/compute-sanitizer"), reverse=True)
    for packages in machine.package_folders(commands, python):
        folders += glob.glob(os.path.join(packages, "nvidia", "*", "bin"))
        folders += glob.glob(os.path.join(packages, "nvidia", "*", "compute-sanitizer"))
    places = [shutil.which("compute-sanitizer"), *(shutil.which("compute-sanitizer", path=f) for f in folders)]
    tool = next((place for place in places if place), None)
    return tool, None if tool else "compute-sanitizer was not found; it comes with the CUDA toolkit"


def run(commands, tool, tests_folder, environment):
    """Runs each check; one that finds something, or does not end, makes the part fail."""
    binary, test = SAMPLE
    sample = [os.path.join(tests_folder, binary), "--exact", "--test-threads=1", test]
    results = []
    for i, name in enumerate(TOOLS):
        limit = commands.left() / (len(TOOLS) - i)
        done = commands.run([tool, "--tool", name, "--error-exitcode", FOUND, *sample], limit, environment)
        summary = SUMMARY.findall(done.output + done.errors)
        said = summary[-1] if summary else done.ending()
        # Without a summary the tool did not look, whatever its exit code.
        ok = done.ok and bool(summary) and f"test {test} ... ok" in done.output
        results.append({"tool": name, "ok": ok, "summary": said, "seconds": done.seconds})
        print(f"  {name:<10} {'clean' if ok else 'NOT CLEAN'}: {said}, {done.seconds:.1f} s", flush=True)
    return {"ok": all(one["ok"] for one in results), "sample": " ".join(SAMPLE), "tools": results}
