#!/usr/bin/env python3
"""How long training steps of the examples' networks take in PyTorch on a CPU, or forward passes of VGG16: the twin of
examples/step_time, for scripts/compare-pytorch --network.

    scripts/reference/step_time.py resnet20 32 20 2 [--channels-last | --compile]
    scripts/reference/step_time.py vgg16 1 20 2
"""

import json
import pathlib
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from gpt import Gpt
from resnet20 import ResNet
from vgg16 import vgg16

WARM_UP = 3


def main():
    network, batch, steps, threads = sys.argv[1], *map(int, sys.argv[2:5])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    work = {"mlp": mlp, "resnet20": resnet20, "gpt": gpt, "vgg16": forward}[network](batch)
    for _ in range(WARM_UP):
        work()
    start = time.perf_counter()
    for _ in range(steps):
        work()
    print(json.dumps({"train_seconds": time.perf_counter() - start}))


def images(*shape):
    return torch.sin(torch.arange(torch.Size(shape).numel(), dtype=torch.float32)).reshape(shape)


def mlp(batch):
    hidden = [nn.Linear(28 * 28, 512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, 512), nn.ReLU()]
    model = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(512, 24))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return training(model, optimizer, images(batch, 1, 28, 28), torch.arange(batch) % 10, 24)


def resnet20(batch):
    model = ResNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    return training(model, optimizer, images(batch, 3, 32, 32), torch.arange(batch) % 10, 10)


def gpt(batch):
    model = Gpt(65)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    ids = torch.arange(batch * 128)
    ids = ids * ids % 65
    return training(model, optimizer, ids.reshape(batch, 128), ids, 65)


def training(model, optimizer, x, y, classes):
    run, x = prepared(model, x)

    def step():
        loss = F.cross_entropy(run(x).reshape(-1, classes), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def forward(batch):
    run, x = prepared(vgg16().eval(), images(batch, 3, 224, 224))

    def one():
        with torch.no_grad():
            run(x)

    return one


def prepared(model, x):
    """Both as the flags ask for them."""
    if "--channels-last" in sys.argv:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    return torch.compile(model) if "--compile" in sys.argv else model, x


if __name__ == "__main__":
    main()
