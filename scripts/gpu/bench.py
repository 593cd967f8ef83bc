"""Kernel throughput: `signet bench`, beside PyTorch's times for the same rows where it sees the GPU."""
from __future__ import annotations

import json

import machine

# The rows of the notebook's batch are measured first, alone.
FIRST = ["--filter", "/32"]
# How many times as long as these all rows take, at most.
ALL = 4


def run(trainer, script, python, reason, quick):
    """The document of `signet bench --json`. That PyTorch fails is no failure of the check."""
    commands = trainer.commands
    # The small rows of --quick are one batch anyway.
    first = ["--quick"] if quick else FIRST
    before = machine.clocks(commands)
    start = commands.left()
    document, problem = measure(trainer, first)
    if not document:
        return {"ok": False, "problem": problem}
    reference, theirs = with_pytorch(commands, script, python, first) if python else (None, reason)
    took = start - commands.left()
    if not quick:
        problem = "there was time for the rows of batch 32 alone"
        if commands.left() > ALL * took:
            more, problem = measure(trainer, [])
            document = more or document
        if reference and commands.left() > ALL * took:
            reference = with_pytorch(commands, script, python, [])[0] or reference
    seconds = {row["name"]: row["median_seconds"] for row in (reference or {}).get("rows", [])}
    for row in document["rows"]:
        if row["name"] in seconds:
            row["ratio"] = seconds[row["name"]] / row["median_seconds"]
    document["reference"] = reference and reference["reference"]
    peaks = document["peaks"]
    print(
        f"  peaks: {peaks['bytes_per_second'] / 1e9:.0f} GB/s, {peaks['flops_per_second'] / 1e9:.0f} GFLOP/s, "
        f"{peaks['launch_seconds'] * 1e6:.2f} us a launch; {len(document['rows'])} rows",
        flush=True,
    )
    if problem:
        print(f"  {problem}", flush=True)
    clocks = {"before": before, "after": machine.clocks(commands)}
    return {"ok": True, "problem": theirs, "rows_left_out": problem, "document": document, "clocks": clocks}


def measure(trainer, more):
    """A document, or what went wrong."""
    command = [trainer.signet, "bench", "--device", "cuda", "--json", *more]
    done = trainer.commands.run(command, environment=trainer.environment)
    return (json.loads(done.output), None) if done.ok else (None, f"signet bench: {done.why()}")


def with_pytorch(commands, script, python, more):
    """PyTorch's rows, or what went wrong."""
    done = commands.run([python, script, "--device", "cuda", *more], limit=commands.left() / 2)
    return (json.loads(done.output), None) if done.ok else (None, f"PyTorch: {done.why()}")
