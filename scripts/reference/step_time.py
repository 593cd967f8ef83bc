#!/usr/bin/env python3
"""How long training steps of ResNet-20 and the small GPT take in PyTorch on a CPU: the twin of
examples/step_time.rs, for scripts/compare-pytorch --network.

    scripts/reference/step_time.py resnet20 32 20 2 [--channels-last | --compile]
"""

import json
import pathlib
import sys
import time

import torch
from torch.nn import functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from gpt import Gpt
from resnet20 import ResNet

WARM_UP = 3


def main():
    network, batch, steps, threads = sys.argv[1], *map(int, sys.argv[2:5])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if network == "resnet20":
        model = ResNet()
        x = torch.sin(torch.arange(batch * 3 * 32 * 32, dtype=torch.float32)).reshape(batch, 3, 32, 32)
        y = torch.arange(batch) % 10
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    else:
        model = Gpt(65)
        ids = torch.arange(batch * 128)
        ids = ids * ids % 65
        x, y = ids.reshape(batch, 128), ids
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    if "--channels-last" in sys.argv:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    run = torch.compile(model) if "--compile" in sys.argv else model

    def step():
        loss = F.cross_entropy(run(x).reshape(-1, 10 if network == "resnet20" else 65), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(WARM_UP):
        step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    print(json.dumps({"train_seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
