#!/usr/bin/env python3
"""What PyTorch makes of fifty training steps of the examples' networks, for tests/engine/examples.rs:
tests/fixtures/resnet20.safetensors and gpt.safetensors. Small batches and, of the GPT, small sizes; f64.

    .venv/bin/python scripts/reference/parity.py

Parameters start as a formula of their places, so that no file has to hold them. Of each gradient, and of
each parameter after the first step, the files hold two sums: of its elements, and of these times a
formula of their places.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.nn import functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from gpt import Gpt
from resnet20 import ResNet

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures"
STEPS = 50


def wave(count, phase):
    """Numbers from -1 to 1 that neither repeat nor lie in order."""
    return torch.sin(1.7 * torch.arange(count, dtype=torch.float64) ** 1.1 + phase)


def fill(model):
    """Parameter number k by wave(n, k): vectors around their usual start, others by their inputs."""
    with torch.no_grad():
        for k, (name, parameter) in enumerate(model.named_parameters()):
            values = wave(parameter.numel(), float(k)).reshape(parameter.shape)
            if parameter.dim() > 1:
                parameter.copy_(values / np.sqrt(parameter[0].numel()))
            else:
                parameter.copy_(0.1 * values + float(name.endswith("weight")))


def sums(tensors):
    rows = [[t.sum().item(), (t.flatten() * wave(t.numel(), 0.5)).sum().item()] for t in tensors]
    return np.array(rows)


def run(name, model, batch, loss_of, optimizer):
    fill(model)
    model.train()
    optimizer = optimizer(model.parameters())
    losses, found = [], {}
    for step in range(STEPS):
        loss = loss_of(model, *batch(step))
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            found["gradients"] = sums([p.grad for p in model.parameters()])
        optimizer.step()
        if step == 0:
            found["parameters"] = sums([p.detach() for p in model.parameters()])
    found["losses"] = np.array(losses)
    keys = [key for key, _ in model.named_parameters()]
    metadata = {"keys": json.dumps(keys), "versions": json.dumps({"torch": torch.__version__})}
    save_file(found, FIXTURES / f"{name}.safetensors", metadata)
    print(f"{name}: loss {losses[0]:.6f} to {losses[-1]:.6f}")


def images(step):
    x = wave(4 * 3 * 8 * 8, 3.0 * step).reshape(4, 3, 8, 8)
    return x, torch.arange(4) % 10


def letters(step):
    ids = (torch.arange(3 * 9) * (step % 5 + 2)) % 11
    ids = ids.reshape(3, 9)
    return ids[:, :-1], ids[:, 1:].flatten()


def main():
    torch.set_num_threads(1)
    run(
        "resnet20",
        ResNet().double(),
        images,
        lambda model, x, y: F.cross_entropy(model(x), y),
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=1e-4),
    )
    run(
        "gpt",
        Gpt(11, context=8, width=16, heads=2, layers=2).double(),
        letters,
        lambda model, x, y: F.cross_entropy(model(x).flatten(0, 1), y),
        lambda p: torch.optim.AdamW(p, lr=1e-3),
    )


if __name__ == "__main__":
    main()
