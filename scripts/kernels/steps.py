#!/usr/bin/env python3
"""Writes the tables of docs/kernel.md and its translation; scripts/kernel-steps calls it.

  steps.py WORK NVRTC [--check]

WORK has touched.jsonl (what cusim counted), NVRTC is the folder of scripts/fetch-nvrtc.
"""
from __future__ import annotations

import json
import math
import os
import pathlib
import re
import sys

import plan
import sass
from nvrtc import ROOT, Nvrtc

BEGIN, END = "<!-- table -->\n", "<!-- /table -->\n"
SIZE = 128  # rows, columns and length of the sums, as in tests/docs/book_kernels.rs
SECTOR = 32  # bytes
TARGET = 90

ASKS = "| step | sectors asked for | FLOP per byte asked | at most, TFLOP/s | limited by |\n|---|--:|--:|--:|---|\n"
CONSISTS = (
    "| step | registers | shared, bytes | occupancy | inner loop | FFMA | global loads | shared loads |\n"
    "|---|--:|--:|--:|--:|--:|--:|---|\n"
)
BETWEEN = "And what each step is compiled to:"
LIMITS = ("memory", "instructions")
NONE, OF = "none", " of "  # words of sass.py

# In Traditional Chinese.
CHINESE = {
    ASKS: "| 步驟 | 要了多少 sector | 每要一位元組做的 FLOP | 最多，TFLOP/s | 受限於 |\n|---|--:|--:|--:|---|\n",
    CONSISTS: "| 步驟 | 暫存器 | 共享記憶體，位元組 | 佔用率 | 內層迴圈 | FFMA | 全域載入 | 共享載入 |\n"
    "|---|--:|--:|--:|--:|--:|--:|---|\n",
    BETWEEN: "每一步編譯出來的結果：",
    "memory": "記憶體",
    "instructions": "指令",
    NONE: "無",
    OF: " 個 ",
}
CHAPTERS = {ROOT / "docs" / "kernel.md": {}, ROOT / "docs" / "zh-TW" / "kernel.md": CHINESE}


def kernels():
    """File, kernel and options, in the chapter's order."""
    for file in sorted((ROOT / "docs" / "kernel-steps").glob("*.cu")):
        yield file, "product", ()
    yield ROOT / "kernels" / "matmul.cu", "matmul_nn", ("-DSCALAR=float",)


def cells(file, kernel, seen, log, loop):
    used = log.split(f"'{kernel}'", 1)[1]
    registers = int(re.search(r"Used (\d+) registers", used)[1])
    line = re.search(r"Used .*", used)[0]
    shared = int(found[1]) if (found := re.search(r"(\d+) bytes smem", line)) else 0
    flops, asked = 2 * SIZE**3, SECTOR * seen["sectors"]
    # Estimates of what an H100 could do at most: arithmetic in step with the share of
    # multiplications, and memory, were nothing cached.
    arithmetic = plan.H100["flops"] * loop.math_share
    memory = plan.H100["bytes"] * flops / asked
    asks = (
        f"{seen['sectors']:,}",
        f"{flops / asked:.2f}",
        f"{min(arithmetic, memory) / 1e12:.1f}",
        LIMITS[0] if memory < arithmetic else LIMITS[1],
    )
    consists = (
        str(registers),
        f"{shared:,}",
        f"{plan.occupancy(TARGET, registers, shared, math.prod(seen['block'])):.0%}",
        str(loop.length),
        f"{loop.count('FFMA')} ({loop.math_share:.0%})",
        str(loop.count("LDG")),
        loop.loads(),
    )
    return file, kernel, asks, consists


def measured(work, folder):
    """Of each kernel, its file, its name and the cells of both tables."""
    nvrtc, nvdisasm = Nvrtc(folder), next(pathlib.Path(folder).glob("nvidia/*/bin/nvdisasm"))
    lines = [json.loads(line) for line in (work / "touched.jsonl").read_text().splitlines()]
    counted = [line for line in lines if line["kernel"] in ("product", "matmul_nn")]
    for (file, kernel, options), seen in zip(kernels(), counted, strict=True):
        cubin, log = nvrtc.compile(file, f"sm_{TARGET}", *options)
        path = work / f"{file.stem}.cubin"
        path.write_bytes(cubin)
        yield cells(file, kernel, seen, log, sass.inner_loop(nvdisasm, path, kernel))


def tables(found, folder, words):
    """Both tables as the chapter in `folder` has them, in its words."""
    say = lambda text: words.get(text, text)
    asks, consists = say(ASKS), say(CONSISTS)
    for file, kernel, first, second in found:
        name = f"[`{file.stem if kernel == 'product' else kernel}`]({os.path.relpath(file, folder)})"
        asks += row(name, map(say, first))
        consists += row(name, (say(cell).replace(OF, say(OF)) for cell in second))
    return f"{asks}\n{say(BETWEEN)}\n\n{consists}"


def row(name, cells):
    return "| " + " | ".join((name, *cells)) + " |\n"


def main():
    work, folder = pathlib.Path(sys.argv[1]), sys.argv[2]
    found = list(measured(work, folder))
    for chapter, words in CHAPTERS.items():
        document = chapter.read_text()
        before, rest = document.split(BEGIN)
        _, after = rest.split(END)
        new = before + BEGIN + "\n" + tables(found, chapter.parent, words) + "\n" + END + after
        if "--check" not in sys.argv:
            chapter.write_text(new)
        elif new != document:
            raise SystemExit(f"{chapter.relative_to(ROOT)} is not current: run scripts/kernel-steps")


if __name__ == "__main__":
    main()
