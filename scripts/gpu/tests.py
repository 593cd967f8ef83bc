"""The CUDA tests: each test binary on the GPU, then alone what did not pass beside others."""
from __future__ import annotations

import os
import re

# libtest's line for a finished test.
FINISHED = re.compile(r"^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", re.MULTILINE)
# What a test said that failed.
MESSAGE = r"^---- {} stdout ----\n(.*?)(?=^---- |^failures:|\Z)"
ALONE_LIMIT = 60
# A broken driver fails every test: the first few of a binary tell as much as all.
ALONE_MOST = 20


def cuda_tests(name, listing):
    """The tests of a binary that use the device."""
    tests = re.findall(r"^(.+): test$", listing, re.MULTILINE)
    # Tests of the stand-in itself have nothing to do on a GPU.
    return [test for test in tests if (name.startswith("cuda") or "cuda::" in test) and "::sim::" not in test]


def run(commands, folder, binaries, environment):
    """Runs all binaries; every test gets a state, and every failure its message."""
    results = []
    for i, name in enumerate(binaries):
        # One that hangs leaves time for the others.
        limit = commands.left() / (1 if i + 1 == len(binaries) else 2)
        one = run_binary(commands, name, os.path.join(folder, name), limit, environment)
        states = list(one["tests"].values())
        print(f"  {name:<18} {states.count('passed')} of {len(states)} passed, {one['seconds']:.1f} s", flush=True)
        results.append(one)
    for one in results:
        run_alone(commands, one, os.path.join(folder, one["name"]), environment)
        for test, state in one["tests"].items():
            if state != "passed":
                print(f"  {state}: {one['name']} {test}", flush=True)
    ok = all(one["complete"] and set(one["tests"].values()) <= {"passed"} for one in results)
    return {"ok": ok, "binaries": results}


def run_binary(commands, name, binary, limit, environment):
    """Runs the CUDA tests of one binary, several at a time."""
    listing = commands.run([binary, "--list"], 30, environment)
    tests = cuda_tests(name, listing.output)
    if not tests:
        # Asked for no test by name, libtest would run all.
        messages = {"--list": f"{listing.ending()}: {listing.errors.strip()[-600:]}"}
        return {
            "name": name, "complete": False, "ending": "no CUDA test in it", "seconds": listing.seconds,
            "tests": {"--list": "failed"}, "messages": messages,
        }
    threads = min(8, len(os.sched_getaffinity(0)))
    done = commands.run([binary, "--exact", f"--test-threads={threads}", *tests], limit, environment)
    ended = dict(FINISHED.findall(done.output))
    words = {"ok": "passed", "FAILED": "failed"}
    states = {test: words.get(ended.get(test), "not finished") for test in tests if ended.get(test) != "ignored"}
    return {
        "name": name,
        "complete": done.code is not None,
        "ending": done.ending(),
        "seconds": done.seconds,
        "tests": states,
        "messages": {test: message(done.output, test) for test, state in states.items() if state == "failed"},
    }


def run_alone(commands, one, binary, environment):
    """Runs each test that did not pass in a process of its own.

    A kernel that fails can spoil the process for all tests after it: this says who it was.
    """
    states, messages = one["tests"], one["messages"]
    for test in [test for test, state in states.items() if state != "passed"][:ALONE_MOST]:
        alone = commands.run([binary, "--exact", "--test-threads=1", test], ALONE_LIMIT, environment)
        if alone.ok:
            states[test] = f"{states[test]} beside others, passed alone"
        elif message(alone.output, test):
            states[test], messages[test] = "failed", message(alone.output, test)
        else:
            messages.setdefault(test, f"{alone.ending()}: {alone.errors.strip()[-600:]}")


def message(output, test):
    """The beginning of what a failed test said."""
    found = re.search(MESSAGE.format(re.escape(test)), output, re.MULTILINE | re.DOTALL)
    return found.group(1).strip()[:600] if found else ""
