"""Training by the program: speed, accuracy, the same bits twice, and the CPU's loss."""
from __future__ import annotations

import hashlib
import json
import os
import statistics

import machine

BATCH = 32
# Of the short runs: the first epoch warms up, the second is measured.
SHORT = 2
# Both devices start from the same weights, see the same batches and dropout masks and multiply in f32,
# but round differently, and an epoch of steps lets that grow: on the CPU a learning rate changed in its
# eighth digit moves this loss by up to 0.1 % and the accuracy by 0.002.
LOSS_BOUND = 0.01
ACCURACY_BOUND = 0.01
CLOCKS = ("train_seconds", "valid_seconds", "images_per_second")
# `--precision` is not given: what users run.
DEFAULT = "tf32"


class Run:
    """One `signet train`."""

    def __init__(self, done, folder):
        self.done, self.folder = done, folder
        # A run that was stopped may leave half a line.
        whole = [line for line in done.output.splitlines() if line.startswith("{") and line.endswith("}")]
        self.epochs = [json.loads(line) for line in whole]
        self.model = sha256(os.path.join(folder, "model.safetensors")) if done.ok else None

    @property
    def ok(self):
        return self.done.ok and bool(self.epochs)

    def numbers(self):
        """Its metrics but for those that a clock measured."""
        return [{key: value for key, value in epoch.items() if key not in CLOCKS} for epoch in self.epochs]

    def why(self):
        return self.done.why()

    def seconds(self):
        """Seconds of an epoch's training: the median, without the first, which warms up."""
        return statistics.median(epoch["train_seconds"] for epoch in self.epochs[1:] or self.epochs)

    def images(self):
        epoch = self.epochs[0]
        return round(epoch["images_per_second"] * epoch["train_seconds"])

    def step(self):
        """Seconds of a step, the last and smaller one counted as one."""
        return self.seconds() / -(-self.images() // BATCH)

    def record(self):
        images = self.images()
        return {
            "wall_seconds": self.done.seconds, "images": images, "seconds_per_epoch": self.seconds(),
            "images_per_second": images / self.seconds(), "step_seconds": self.step(),
            "model_sha256": self.model, "epochs": self.epochs,
        }


class Trainer:
    """Starts `signet train` on one data set, always with the same seed."""

    def __init__(self, commands, signet, environment, data, scratch, capability):
        self.commands, self.signet, self.environment = commands, signet, environment
        self.data, self.scratch, self.count = data, scratch, 0
        # Tensor cores multiply tf32 and bf16 from Ampere on.
        self.has_bf16 = capability >= (8, 0)

    def command(self, device, epochs, *more):
        """The words of a run, and its folder."""
        self.count += 1
        name = f"run-{self.count}"
        arguments = ["train", "--device", device, "--data", self.data, "--epochs", epochs, "--batch-size", BATCH]
        arguments += ["--seed", 0, "--offline", "--json", "--no-report", "--out", self.scratch, "--name", name]
        return [self.signet, *arguments, *more], os.path.join(self.scratch, name)

    def run(self, device, epochs, *more, environment=None):
        command, folder = self.command(device, epochs, *more)
        return Run(self.commands.run(command, environment=environment or self.environment), folder)


def sha256(file):
    with open(file, "rb") as content:
        return hashlib.sha256(content.read()).hexdigest()


def run(trainer, epochs):
    """All runs, and what is compared between them; the most valuable first."""
    runs, checks = {}, []

    def check(name, ok, detail):
        checks.append({"name": name, "ok": bool(ok), "detail": detail})
        print(f"  {'ok' if ok else 'FAILED'}: {name}: {detail}", flush=True)

    def train(name, device, epochs, *more):
        run = trainer.run(device, epochs, *more)
        if not run.ok:
            check(f"{name} runs", False, run.why())
            return None
        runs[name] = run.record()
        last = run.epochs[-1]
        print(
            f"  {name}: {runs[name]['images_per_second']:.0f} images/s, {run.step() * 1e6:.1f} us a step, "
            f"{run.seconds():.3f} s an epoch, {run.done.seconds:.1f} s in all; validation accuracy "
            f"{last['valid_accuracy']:.4f}",
            flush=True,
        )
        return run

    f32 = ("--precision", "f32")
    first = train("cuda, f32", "cuda", SHORT, *f32)
    tf32 = train(f"cuda, {DEFAULT}", "cuda", SHORT)
    if first:
        again = train("cuda, f32 again", "cuda", SHORT, *f32)
        if again:
            same = first.model == again.model and first.numbers() == again.numbers()
            check("two runs leave the same bits", same, f"model sha256 {first.model[:16]} and {again.model[:16]}")
        cpu = train("cpu, f32", "cpu", 1)
        if cpu:
            agree(check, first.epochs[0], cpu.epochs[0])
    long = train(f"cuda, {DEFAULT}, {epochs} epochs", "cuda", epochs) if tf32 else None
    if long:
        shared = min(SHORT, epochs)
        same = tf32.numbers()[:shared] == long.numbers()[:shared]
        check("a long run begins with the same bits", same, f"train loss {long.epochs[0]['train_loss']!r}")
    # Good to know, where there is time.
    enough = 1.5 * first.done.seconds if first else float("inf")
    if first and trainer.commands.left() > enough:
        single = train("cuda, f32, --no-graph", "cuda", SHORT, *f32, "--no-graph")
        if single:
            same = first.model == single.model
            check("a graph and single launches leave the same bits", same, f"model sha256 {single.model[:16]}")
    if trainer.has_bf16 and trainer.commands.left() > enough:
        train("cuda, bf16", "cuda", SHORT, "--precision", "bf16")
    clocks = machine.clocks(trainer.commands)
    ok = bool(checks) and all(one["ok"] for one in checks)
    return {"ok": ok, "data": trainer.data, "batch": BATCH, "runs": runs, "checks": checks, "clocks_after": clocks}


def agree(check, cuda, cpu):
    """Holds an epoch on the GPU against the same on the CPU."""
    apart = abs(cuda["train_loss"] - cpu["train_loss"]) / cpu["train_loss"]
    losses = f"{cuda['train_loss']:.4f} and {cpu['train_loss']:.4f}, {apart:.2%} apart (bound {LOSS_BOUND:.0%})"
    check("the CPU's training loss", apart <= LOSS_BOUND, losses)
    apart = abs(cuda["train_accuracy"] - cpu["train_accuracy"])
    shares = f"{cuda['train_accuracy']:.4f} and {cpu['train_accuracy']:.4f} (bound {ACCURACY_BOUND})"
    check("the CPU's training accuracy", apart <= ACCURACY_BOUND, shares)
