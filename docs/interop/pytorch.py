#!/usr/bin/env python3
"""A model of Signet in PyTorch, and back.

  pytorch.py load MODEL.safetensors        loads it into the same network and prints its layers
  pytorch.py save MODEL.safetensors        writes an untrained network of PyTorch's, which
                                           `signet evaluate MODEL.safetensors` reads

Keys, shapes and meaning are PyTorch's own, so neither way converts anything. Needs torch and
safetensors.
"""

import sys

from safetensors.torch import load_file, save_file
from torch import nn


def network(classes=24):
    """The network of the course notebook; pixels from 0 to 1, [N, 1, 28, 28]."""
    return nn.Sequential(
        nn.Conv2d(1, 25, 3, padding=1), nn.BatchNorm2d(25), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(25, 50, 3, padding=1), nn.BatchNorm2d(50), nn.ReLU(), nn.Dropout(0.2), nn.MaxPool2d(2),
        nn.Conv2d(50, 75, 3, padding=1), nn.BatchNorm2d(75), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(675, 512), nn.Dropout(0.3), nn.ReLU(), nn.Linear(512, classes),
    )  # fmt: skip


def load(path):
    values = load_file(path)
    model = network(classes=len(values["17.bias"]))
    model.load_state_dict(values)
    return model.eval()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["load", path]:
            print(load(path))
        case ["save", path]:
            save_file(network().state_dict(), path)
        case _:
            sys.exit(__doc__)
