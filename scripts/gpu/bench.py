"""Kernel throughput: `signet bench`, beside PyTorch's times for the same rows where it sees the GPU."""
from __future__ import annotations

import json
import os

import machine


def run(trainer, script, python, reason, scratch, quick):
    """The document of `signet bench --json`. That PyTorch fails is no failure of the check."""
    commands = trainer.commands
    problem, compare = reason, []
    effort = ["--quick"] if quick else []
    if python:
        done = commands.run([python, script, "--device", "cuda", *effort], limit=commands.left() / 2)
        problem = None if done.ok else f"PyTorch: {done.why()}"
        if done.ok:
            file = os.path.join(scratch, "bench-pytorch.json")
            with open(file, "w", encoding="utf-8") as text:
                text.write(done.output)
            compare = ["--vs", file]
    before = machine.clocks(commands)
    command = [trainer.signet, "bench", "--device", "cuda", "--json", *effort, *compare]
    done = commands.run(command, environment=trainer.environment)
    if not done.ok:
        return {"ok": False, "problem": f"signet bench: {done.why()}"}
    document = json.loads(done.output)
    peaks = document["peaks"]
    print(
        f"  peaks: {peaks['bytes_per_second'] / 1e9:.0f} GB/s, {peaks['flops_per_second'] / 1e9:.0f} GFLOP/s, "
        f"{peaks['launch_seconds'] * 1e6:.2f} us a launch; {len(document['rows'])} rows",
        flush=True,
    )
    clocks = {"before": before, "after": machine.clocks(commands)}
    return {"ok": True, "problem": problem, "document": document, "clocks": clocks}
