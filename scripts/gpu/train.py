"""Training by the program: speed, accuracy, the same bits twice, and the CPU's loss."""
from __future__ import annotations

import hashlib
import json
import os
import statistics

import machine

BATCH = 32
# Both devices start from the same weights and see the same batches and dropout masks, but round
# differently, and an epoch of steps lets that grow: on the CPU a learning rate changed in its eighth
# digit moves this loss by 0.02 % and the accuracy by 0.002.
LOSS_BOUND = 0.01
ACCURACY_BOUND = 0.01
CLOCKS = ("train_seconds", "valid_seconds", "images_per_second")


class Run:
    """One `signet train`."""

    def __init__(self, done, model):
        self.done = done
        self.epochs = [json.loads(line) for line in done.output.splitlines() if line.startswith("{") and line.endswith("}")]
        self.model = model

    def numbers(self):
        """Its metrics but for those that a clock measured."""
        return [{key: value for key, value in epoch.items() if key not in CLOCKS} for epoch in self.epochs]

    def why(self):
        """How it ended, and the end of what it said."""
        return f"{self.done.ending()}: {self.done.errors.strip()[-600:]}"

    def seconds(self):
        """Seconds of an epoch's training: the median, without the first, which warms up."""
        return statistics.median(epoch["train_seconds"] for epoch in self.epochs[1:] or self.epochs)

    def images(self):
        epoch = self.epochs[0]
        return round(epoch["images_per_second"] * epoch["train_seconds"])

    def record(self):
        images = self.images()
        return {
            "wall_seconds": self.done.seconds, "images": images, "seconds_per_epoch": self.seconds(),
            "images_per_second": images / self.seconds(), "model_sha256": self.model, "epochs": self.epochs,
        }


class Trainer:
    """Starts `signet train` on one data set, always with the same seed."""

    def __init__(self, commands, signet, environment, data, scratch):
        self.commands, self.signet, self.environment = commands, signet, environment
        self.data, self.scratch, self.count = data, scratch, 0

    def run(self, device, epochs):
        self.count += 1
        name = f"run-{self.count}"
        arguments = ["train", "--device", device, "--data", self.data, "--epochs", epochs, "--batch-size", BATCH]
        arguments += ["--seed", 0, "--offline", "--json", "--out", self.scratch, "--name", name]
        done = self.commands.run([self.signet, *arguments], environment=self.environment)
        file = os.path.join(self.scratch, name, "model.safetensors")
        return Run(done, sha256(file) if done.ok else None)


def sha256(file):
    with open(file, "rb") as content:
        return hashlib.sha256(content.read()).hexdigest()


def run(trainer, epochs):
    """All runs, and what is compared between them."""
    runs, checks = {}, []

    def check(name, ok, detail):
        checks.append({"name": name, "ok": bool(ok), "detail": detail})
        print(f"  {'ok' if ok else 'FAILED'}: {name}: {detail}", flush=True)

    def train(name, device, epochs):
        run = trainer.run(device, epochs)
        if not run.done.ok or not run.epochs:
            check(f"{name} runs", False, run.why())
            return None
        runs[name] = run.record()
        last = run.epochs[-1]
        print(
            f"  {name}: {runs[name]['images_per_second']:.0f} images/s, {run.seconds():.2f} s an epoch, "
            f"{run.done.seconds:.1f} s in all; validation accuracy {last['valid_accuracy']:.4f}",
            flush=True,
        )
        return run

    first = train("cuda, 1 epoch", "cuda", 1)
    if first:
        again = train("cuda, 1 epoch again", "cuda", 1)
        if again:
            same = first.model == again.model and first.numbers() == again.numbers()
            check("two runs leave the same bits", same, f"model sha256 {first.model[:16]} and {again.model[:16]}")
        cpu = train("cpu, 1 epoch", "cpu", 1)
        if cpu:
            agree(check, first.epochs[0], cpu.epochs[0])
        long = train(f"cuda, {epochs} epochs", "cuda", epochs)
        if long:
            same = first.numbers()[0] == long.numbers()[0]
            check("a long run begins with the same bits", same, f"train loss {long.epochs[0]['train_loss']!r}")
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
