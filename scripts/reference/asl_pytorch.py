#!/usr/bin/env python3
"""The network of the course notebook, trained by PyTorch: what Signet is measured against.

  asl_pytorch.py --data DIR       DIR holds sign_mnist_train.csv and sign_mnist_valid.csv (or
                                  _test.csv), plain or with .gz at the end
  asl_pytorch.py --random         random pixels: for timing alone
  --mode notebook                 DataLoader over samples, .item() in each step: the notebook as
                                  written
         eager                    the same recipe, batches gathered on the device, no waiting
                                  within an epoch
         compile                  eager with torch.compile (--compile-mode)
         graph                    the whole step captured in a CUDA graph
  --steps N                       time N training steps after a warm-up, three times, and print the
                                  median, instead of training
  --save FILE                     the model as safetensors
  --json FILE                     every figure

Needs torch alone (--save: safetensors too). The loss of an epoch is the SUM of its batches' mean
losses and accuracy is correct / N, as in the notebook.
"""
from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import time

try:
    import torch
    from torch import nn
except ImportError as error:
    sys.exit(f"asl_pytorch.py: {error}: start it with a Python that has torch, as {sys.executable} has not "
             "(`pip install torch`)")

TRAIN_NAMES = ("sign_mnist_train.csv", "sign_mnist_train.csv.gz")
VALID_NAMES = tuple(f"sign_mnist_{part}.csv{end}" for part in ("valid", "test") for end in ("", ".gz"))
SIZES = (27455, 7172)
CLASSES = 24


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", default="data/asl_data")
    source.add_argument("--random", action="store_true")
    parser.add_argument("--mode", choices=["notebook", "eager", "compile", "graph"], default="notebook")
    parser.add_argument("--compile-mode", default="default")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--tf32", choices=["default", "off", "on"], default="default")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--save")
    parser.add_argument("--json")
    return parser.parse_args()


def load(args):
    """Pixels `[N, 784]` and labels `[N]` of both parts."""
    if args.random:
        generator = torch.Generator().manual_seed(args.seed)
        draw = lambda below, *shape: torch.randint(0, below, shape, generator=generator)
        return [(draw(256, n, 784).to(torch.uint8), draw(CLASSES, n)) for n in SIZES]
    parts = [read_csv(args.data, names) for names in (TRAIN_NAMES, VALID_NAMES)]
    if max(int(labels.max()) for _, labels in parts) >= CLASSES:
        # Kaggle numbers the letters 0 to 24 and leaves out 9, the J.
        parts = [(pixels, labels - (labels > 9).long()) for pixels, labels in parts]
    return parts


def read_csv(folder, names):
    path = next((path for name in names if os.path.exists(path := os.path.join(folder, name))), None)
    if path is None:
        raise SystemExit(f"{folder} has none of {', '.join(names)}")
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        next(file)
        # Labels and pixels all fit a byte.
        rows = b"".join(bytes(map(int, line.split(b","))) for line in file)
    table = torch.frombuffer(bytearray(rows), dtype=torch.uint8).reshape(-1, 785)
    return table[:, 1:].contiguous(), table[:, 0].long()


def build_model():
    return nn.Sequential(
        nn.Conv2d(1, 25, 3, stride=1, padding=1), nn.BatchNorm2d(25), nn.ReLU(), nn.MaxPool2d(2, stride=2),
        nn.Conv2d(25, 50, 3, stride=1, padding=1), nn.BatchNorm2d(50), nn.ReLU(), nn.Dropout(0.2),
        nn.MaxPool2d(2, stride=2),
        nn.Conv2d(50, 75, 3, stride=1, padding=1), nn.BatchNorm2d(75), nn.ReLU(), nn.MaxPool2d(2, stride=2),
        nn.Flatten(), nn.Linear(675, 512), nn.Dropout(0.3), nn.ReLU(), nn.Linear(512, CLASSES),
    )  # fmt: skip


class Rows(torch.utils.data.Dataset):
    """Sample by sample, as the notebook has it."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __getitem__(self, i):
        return self.x[i], self.y[i]

    def __len__(self):
        return len(self.x)


class Training:
    """Model, optimizer, and an epoch in one of the modes."""

    def __init__(self, args, device, train, valid):
        self.args, self.device, self.train, self.valid = args, device, train, valid
        cuda = device.type == "cuda"
        layout = {"memory_format": torch.channels_last} if args.channels_last else {}
        self.raw = build_model().to(device, **layout)
        compiled = args.mode == "compile"
        self.model = torch.compile(self.raw, mode=args.compile_mode) if compiled else self.raw
        self.loss = nn.CrossEntropyLoss()
        fused = cuda and args.mode != "notebook"
        capturable = cuda and args.mode == "graph"
        self.optimizer = torch.optim.Adam(self.raw.parameters(), fused=fused or None, capturable=capturable)
        self.run_step = self.captured() if args.mode == "graph" else self.step

    def step(self, x, y):
        output = self.model(x)
        self.optimizer.zero_grad(set_to_none=self.args.mode != "graph")
        loss = self.loss(output, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach(), (output.argmax(1) == y).sum()

    def captured(self):
        """A step that replays a CUDA graph, for batches of the full size."""
        batch = self.args.batch
        x, y = (part[:batch].clone() for part in self.train)
        before = {key: value.clone() for key, value in self.raw.state_dict().items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.step(x, y)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            answer = self.step(x, y)
        # The warm-up is no part of the training.
        self.raw.load_state_dict(before)
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()

        def replay(new_x, new_y):
            if len(new_x) != batch:
                return self.step(new_x, new_y)
            x.copy_(new_x)
            y.copy_(new_y)
            graph.replay()
            return answer

        return replay

    def epoch(self, limit=None):
        """Trains on all data, or `limit` steps; loss and accuracy."""
        self.model.train()
        return self.notebook_epoch(limit) if self.args.mode == "notebook" else self.device_epoch(limit)

    def notebook_epoch(self, limit):
        loss = accuracy = 0
        n = len(self.train[0])
        loader = torch.utils.data.DataLoader(Rows(*self.train), batch_size=self.args.batch, shuffle=True)
        for i, (x, y) in enumerate(loader):
            if limit is not None and i >= limit:
                break
            output = self.model(x)
            self.optimizer.zero_grad()
            batch_loss = self.loss(output, y)
            batch_loss.backward()
            self.optimizer.step()
            loss += batch_loss.item()
            accuracy += output.argmax(dim=1, keepdim=True).eq(y.view(-1, 1)).sum().item() / n
        return loss, accuracy

    def device_epoch(self, limit):
        x, y = self.train
        total = torch.zeros((), device=self.device)
        correct = torch.zeros((), device=self.device, dtype=torch.int64)
        order = torch.randperm(len(x), device=self.device)
        for i, rows in enumerate(order.split(self.args.batch)):
            if limit is not None and i >= limit:
                break
            loss, right = self.run_step(x[rows], y[rows])
            total += loss
            correct += right
        return total.item(), correct.item() / len(x)

    def validate(self):
        self.model.eval()
        total = torch.zeros((), device=self.device)
        correct = torch.zeros((), device=self.device, dtype=torch.int64)
        with torch.no_grad():
            for x, y in zip(*(part.split(self.args.batch) for part in self.valid)):
                output = self.model(x)
                total += self.loss(output, y)
                correct += (output.argmax(1) == y).sum()
        return total.item(), correct.item() / len(self.valid[0])


def main():
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.tf32 != "default":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = args.tf32 == "on"
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    cuda = device.type == "cuda"
    if args.mode == "graph" and not cuda:
        raise SystemExit("--mode graph needs CUDA")
    wait = torch.cuda.synchronize if cuda else lambda: None
    start = time.perf_counter()
    parts = [(as_images(args, pixels, device), labels.to(device)) for pixels, labels in load(args)]
    figures = {
        "torch": torch.__version__, "device": torch.cuda.get_device_name() if cuda else "cpu", "mode": args.mode,
        "compile_mode": args.compile_mode, "batch": args.batch, "threads": torch.get_num_threads(),
        "load_s": time.perf_counter() - start, "epochs": [],
    }  # fmt: skip
    training = Training(args, device, *parts)
    (measure if args.steps else train)(args, training, wait, figures)
    if args.save:
        from safetensors.torch import save_file

        save_file({key: value.contiguous() for key, value in training.raw.state_dict().items()}, args.save)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)


def as_images(args, pixels, device):
    """Pixels from 0 to 1, rounded once from the exact quotient."""
    images = (pixels.double() / 255).float().reshape(-1, 1, 28, 28).to(device)
    return images.to(memory_format=torch.channels_last) if args.channels_last else images


def measure(args, training, wait, figures):
    training.epoch(30)
    wait()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        training.epoch(args.steps)
        wait()
        times.append((time.perf_counter() - start) / min(args.steps, steps_of_epoch(args, training)))
    figures["step_s"] = sorted(times)[1]
    epoch = figures["step_s"] * steps_of_epoch(args, training)
    print(f"{args.mode}: {figures['step_s'] * 1e6:.1f} us/step, {epoch:.3f} s/epoch of training")


def steps_of_epoch(args, training):
    return -(-len(training.train[0]) // args.batch)


def train(args, training, wait, figures):
    start = time.perf_counter()
    for epoch in range(args.epochs):
        begin = time.perf_counter()
        loss, accuracy = training.epoch()
        wait()
        middle = time.perf_counter()
        valid_loss, valid_accuracy = training.validate()
        wait()
        end = time.perf_counter()
        print(f"Epoch: {epoch}\nTrain - Loss: {loss:.4f} Accuracy: {accuracy:.4f}")
        print(f"Valid - Loss: {valid_loss:.4f} Accuracy: {valid_accuracy:.4f}", flush=True)
        figures["epochs"].append({
            "train_loss": loss, "train_accuracy": accuracy, "valid_loss": valid_loss,
            "valid_accuracy": valid_accuracy, "train_s": middle - begin, "valid_s": end - middle,
        })  # fmt: skip
    figures["train_wall_s"] = time.perf_counter() - start
    print(f"{args.mode}: {figures['train_wall_s']:.2f} s for {args.epochs} epochs, load {figures['load_s']:.2f} s")


if __name__ == "__main__":
    main()
