"""The CUDA tests: each test binary on the GPU, then alone what did not pass beside others."""
from __future__ import annotations

import os
import re

# libtest's line for a finished test.
FINISHED = re.compile(r"^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", re.MULTILINE)
# What a test said.
MESSAGE = r"^---- {} stdout ----\n(.*?)(?=^---- |^failures:|^successes:|\Z)"
# What needs no look.
FINE = ("passed", "skipped")
ALONE_LIMIT = 60
# A broken driver fails every test: the first few of a module tell as much as all.
ALONE_MOST = 20
TOLD_MOST = 10


def run(commands, folder, binaries, environment):
    """Runs all tests; every test gets a state, and every failure its message.

    A process for each module of a binary: an error of the driver stays until the process ends, and one
    that hangs leaves time for the others.
    """
    results = []
    groups = modules(binaries)
    for i, ((name, module), tests) in enumerate(groups.items()):
        limit = commands.left() / (1 if i + 1 == len(groups) else 2)
        one = run_some(commands, name, os.path.join(folder, name), tests, limit, environment)
        one["module"] = module
        passed, failed, skipped = count(one)
        print(f"  {label(one):<24} {passed} passed, {failed} not, {skipped} skipped, {one['seconds']:.1f} s", flush=True)
        results.append(one)
    for one in results:
        run_alone(commands, one, os.path.join(folder, one["name"]), environment)
        bad = [(test, state) for test, state in one["tests"].items() if state not in FINE]
        for test, state in bad[:TOLD_MOST]:
            print(f"  {state}: {one['name']} {test}", flush=True)
        if len(bad) > TOLD_MOST:
            print(f"  and {len(bad) - TOLD_MOST} more of {label(one)}", flush=True)
    ok = all(one["complete"] and count(one)[1] == 0 for one in results)
    return {"ok": ok, "binaries": results}


def modules(binaries):
    """The tests by binary and first module."""
    groups = {}
    for name, tests in binaries.items():
        for test in tests:
            module = test.split("::")[0] if "::" in test else ""
            groups.setdefault((name, module), []).append(test)
    return groups


def label(one):
    return f"{one['name']} {one.get('module', '')}".strip()


def run_long(commands, folder, binaries, environment):
    """Runs the tests that are too long for every run, each by itself."""
    results = []
    wanted = [(name, test) for name, tests in binaries.items() for test in tests]
    for i, (name, test) in enumerate(wanted):
        limit = commands.left() / (len(wanted) - i)
        arguments = ["--exact", "--ignored", "--show-output", "--test-threads=1", test]
        done = commands.run([os.path.join(folder, name), *arguments], limit, environment)
        one = outcome(name, [test], done)
        results.append(one)
        print(f"  {one['tests'][test]}: {name} {test}, {done.seconds:.1f} s", flush=True)
    ok = bool(results) and all(one["complete"] and count(one)[1] == 0 for one in results)
    return {"ok": ok, "binaries": results}


def run_some(commands, name, binary, tests, limit, environment):
    """Runs tests of one binary, several at a time."""
    threads = min(8, len(os.sched_getaffinity(0)))
    arguments = ["--exact", "--show-output", f"--test-threads={threads}"]
    return outcome(name, tests, commands.run([binary, *arguments, *tests], limit, environment))


def outcome(name, tests, done):
    """What became of each test."""
    ended = dict(FINISHED.findall(done.output))
    words = {"ok": "passed", "FAILED": "failed"}
    states = {test: words.get(ended.get(test), "not finished") for test in tests}
    messages = {test: message(done.output, test) for test in states}
    for test, said in messages.items():
        # Of the stand-in alone; it says so itself.
        if states[test] == "passed" and said.startswith("SKIPPED"):
            states[test] = "skipped"
    return {
        "name": name,
        "complete": done.code is not None,
        "ending": done.ending(),
        "seconds": done.seconds,
        "tests": states,
        "messages": {test: said for test, said in messages.items() if states[test] not in FINE and said},
    }


def run_alone(commands, one, binary, environment):
    """Runs each test that did not pass in a process of its own.

    A kernel that fails can spoil the process for all tests after it: this says who it was.
    """
    states, messages = one["tests"], one["messages"]
    for test in [test for test, state in states.items() if state not in FINE][:ALONE_MOST]:
        if commands.left() <= 0:
            break
        alone = commands.run([binary, "--exact", "--test-threads=1", test], ALONE_LIMIT, environment)
        if alone.ok:
            states[test] = f"{states[test]} beside others, passed alone"
        elif message(alone.output, test):
            states[test], messages[test] = "failed", message(alone.output, test)
        else:
            messages.setdefault(test, alone.why())


def count(one):
    """How many tests of a binary passed, did not, and were skipped."""
    states = list(one["tests"].values())
    passed, skipped = states.count("passed"), states.count("skipped")
    return passed, len(states) - passed - skipped, skipped


def message(output, test):
    """The beginning of what a test said."""
    found = re.search(MESSAGE.format(re.escape(test)), output, re.MULTILINE | re.DOTALL)
    return found.group(1).strip()[:600] if found else ""
