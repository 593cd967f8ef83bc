#!/usr/bin/env python3
"""Writes the table of docs/kernel.md; scripts/kernel-steps calls it.

  steps.py WORK NVRTC [--check]

WORK has touched.jsonl (what cusim counted), NVRTC is the folder of scripts/fetch-nvrtc.
"""
from __future__ import annotations

import json
import math
import pathlib
import re
import sys

import plan
import sass
from nvrtc import ROOT, Nvrtc

CHAPTER = ROOT / "docs" / "kernel.md"
BEGIN, END = "<!-- table -->\n", "<!-- /table -->\n"
SIZE = 128  # rows, columns and length of the sums, as in tests/book_kernels.rs
SECTOR = 32  # bytes
TARGET = 90


def kernels():
    """File, kernel and options, in the chapter's order."""
    for file in sorted((ROOT / "docs" / "kernel-steps").glob("*.cu")):
        yield file, "product", ()
    yield ROOT / "kernels" / "matmul.cu", "matmul_nn", ("-DSCALAR=float",)


def rows(file, kernel, seen, log, loop):
    used = log.split(f"'{kernel}'", 1)[1]
    registers = int(re.search(r"Used (\d+) registers", used)[1])
    line = re.search(r"Used .*", used)[0]
    shared = int(found[1]) if (found := re.search(r"(\d+) bytes smem", line)) else 0
    flops, asked = 2 * SIZE**3, SECTOR * seen["sectors"]
    # Estimates of what an H100 could do at most: arithmetic in step with the share of
    # multiplications, and memory, were nothing cached.
    arithmetic = plan.H100["flops"] * loop.math_share
    memory = plan.H100["bytes"] * flops / asked
    link = file.relative_to(ROOT / "docs") if file.is_relative_to(ROOT / "docs") else f"../{file.relative_to(ROOT)}"
    name = f"[`{file.stem if kernel == 'product' else kernel}`]({link})"
    asks = (
        name,
        f"{seen['sectors']:,}",
        f"{flops / asked:.2f}",
        f"{min(arithmetic, memory) / 1e12:.1f}",
        "memory" if memory < arithmetic else "instructions",
    )
    consists = (
        name,
        registers,
        f"{shared:,}",
        f"{plan.occupancy(TARGET, registers, shared, math.prod(seen['block'])):.0%}",
        loop.length,
        f"{loop.count('FFMA')} ({loop.math_share:.0%})",
        loop.count("LDG"),
        loop.loads(),
    )
    return ["| " + " | ".join(map(str, cells)) + " |\n" for cells in (asks, consists)]


def tables(work, folder):
    nvrtc, nvdisasm = Nvrtc(folder), next(pathlib.Path(folder).glob("nvidia/*/bin/nvdisasm"))
    lines = [json.loads(line) for line in (work / "touched.jsonl").read_text().splitlines()]
    counted = [line for line in lines if line["kernel"] in ("product", "matmul_nn")]
    asks = "| step | sectors asked for | FLOP per byte asked | at most, TFLOP/s | limited by |\n|---|--:|--:|--:|---|\n"
    consists = (
        "| step | registers | shared, bytes | occupancy | inner loop | FFMA | global loads | shared loads |\n"
        "|---|--:|--:|--:|--:|--:|--:|---|\n"
    )
    for (file, kernel, options), seen in zip(kernels(), counted, strict=True):
        cubin, log = nvrtc.compile(file, f"sm_{TARGET}", *options)
        path = work / f"{file.stem}.cubin"
        path.write_bytes(cubin)
        first, second = rows(file, kernel, seen, log, sass.inner_loop(nvdisasm, path, kernel))
        asks += first
        consists += second
    return asks + "\nAnd what each step is compiled to:\n\n" + consists


def main():
    work, folder = pathlib.Path(sys.argv[1]), sys.argv[2]
    document = CHAPTER.read_text()
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    new = before + BEGIN + "\n" + tables(work, folder) + "\n" + END + after
    if "--check" not in sys.argv:
        CHAPTER.write_text(new)
    elif new != document:
        raise SystemExit(f"{CHAPTER.relative_to(ROOT)} is not current: run scripts/kernel-steps")


if __name__ == "__main__":
    main()
