#!/usr/bin/env python3
"""PyTorch's time of a training step in some modes of asl_pytorch.py, in one process: starting PyTorch
takes longer than to measure it.

  pytorch_modes.py --modes graph,eager,notebook --steps 200 [--device cuda] [--batch 32]

On random images, as only time is asked for. One line of JSON for each mode, as soon as it is measured.
"""
from __future__ import annotations

import argparse
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# In the bundle, and in the repository.
sys.path[:0] = [os.path.join(HERE, "reference"), os.path.join(HERE, "..", "reference")]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", default="graph,eager,notebook")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cuda")
    return parser.parse_args()


def main():
    given = arguments()
    import asl_pytorch as asl
    import torch

    device = torch.device(given.device)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    parts = None
    for mode in given.modes.split(","):
        sys.argv[1:] = ["--random", "--mode", mode, "--steps", given.steps, "--batch", given.batch, "--device", given.device]
        sys.argv[1:] = [str(word) for word in sys.argv[1:]]
        settings = asl.arguments()
        if parts is None:
            parts = [(asl.as_images(settings, x, device), y.to(device)) for x, y in asl.load(settings)]
        torch.manual_seed(settings.seed)
        figures = {"mode": mode, "torch": torch.__version__, "steps": given.steps}
        sys.stdout = sys.stderr
        try:
            asl.measure(settings, asl.Training(settings, device, *parts), wait, figures)
        except Exception as error:  # the other modes are worth knowing all the same
            figures["error"] = f"{type(error).__name__}: {error}"[:600]
        sys.stdout = sys.__stdout__
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
