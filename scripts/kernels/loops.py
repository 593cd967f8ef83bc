"""The inner loops of the convolutions' products, for docs/kernels.md: what they consist of, and what a model says
they cost."""
from __future__ import annotations

import math

import model
import sass
import special

HEAD = "## The inner loops of the convolutions"
TARGET = 90
MULTIPROCESSORS = 132
DEPTH, COLUMNS = 16, 64  # of a tile of gemm.cuh
PRECISIONS = {"TF32": "tf32", "F32": "f32"}
PASSES = {"conv": "forward", "weight": "weight", "input": "input"}

# Of each loop when every load stood in a branch, blocks were counted without regard to their size and the last
# partial sums were fetched one after the other: instructions of the kernel and of its loop, branches of the loop,
# registers, blocks on a multiprocessor, tiles of k, cycles of each by the model.
BEFORE = {
    (0, "conv", "TF32"): (2821, 301, 19, 103, 3, 1, 1520),
    (0, "conv", "F32"): (2985, 492, 19, 110, 3, 1, 2097),
    (1, "conv", "TF32"): (2680, 227, 11, 103, 2, 8, 1298),
    (1, "conv", "F32"): (2863, 431, 11, 106, 2, 8, 2113),
    (2, "conv", "TF32"): (2843, 303, 19, 104, 2, 10, 1465),
    (2, "conv", "F32"): (2994, 491, 19, 106, 2, 10, 1778),
    (2, "weight", "TF32"): (2112, 325, 19, 117, 2, 10, 1650),
    (2, "weight", "F32"): (2269, 511, 19, 115, 2, 10, 1946),
    (2, "input", "TF32"): (1776, 241, 11, 102, 2, 5, 1388),
    (2, "input", "F32"): (1954, 446, 11, 102, 2, 5, 2193),
    (1, "weight", "TF32"): (1870, 228, 11, 96, 2, 7, 1418),
    (1, "weight", "F32"): (2047, 435, 11, 96, 2, 7, 2176),
    (1, "input", "TF32"): (1949, 331, 19, 102, 2, 15, 1650),
    (1, "input", "F32"): (2127, 533, 19, 102, 2, 15, 1990),
    (0, "weight", "TF32"): (2088, 323, 19, 119, 2, 7, 1598),
    (0, "weight", "F32"): (2244, 509, 19, 115, 2, 7, 1932),
}


def sizes(layer, kind, batch):
    """Rows, columns and length of the sums of a product."""
    channels, height, width, filters, *_ = special.LAYERS[layer]
    pixels, taps = batch * height * width, special.TAPS
    return {
        "conv": (filters, pixels, channels * taps),
        "weight": (filters, channels * taps + 1, pixels),
        "input": (channels, pixels, filters * taps),
    }[kind]


def tiles(layer, kind, batch, blocks, threads):
    """Tiles of k that a block goes through."""
    rows, columns, length = sizes(layer, kind, batch)
    results = math.ceil(rows / (threads // 4)) * math.ceil(columns / COLUMNS)
    return math.ceil(length / (blocks // results) / DEPTH)


def measure(specials, run, layer, batch, precision):
    name = run["name"]
    kind = name.removeprefix(special.FILE + "_").removesuffix("_few")
    blocks, threads = math.prod(run["launch"]["grid"]), math.prod(run["launch"]["block"])
    loop = specials.loop(name, layer, precision, TARGET)
    registers, _, spilled = specials.uses(name, layer, precision, TARGET)
    if spilled:
        raise SystemExit(f"loops.py: {name} of layer {layer + 1} spills in {precision}")
    # As many as have room, which launch bounds see to.
    resident = min(math.ceil(blocks / MULTIPROCESSORS), 512 // threads)
    cost = round(model.cycles(loop, resident, threads))
    whole = sass.length(str(specials.nvdisasm), specials.compiled(layer, precision, TARGET)[0], name)
    depth = tiles(layer, kind, batch, blocks, threads)
    return whole, loop.length, loop.count("BRA"), registers, resident, depth, cost


def microseconds(measured):
    *_, depth, cost = measured
    return depth * cost / model.CLOCK * 1e6


def rows(specials, kernels, batch):
    for run, layer in zip(kernels, special.layers(kernels, batch)):
        kind = run["name"].removeprefix(special.FILE + "_").removesuffix("_few")
        if layer is None or kind not in PASSES:
            continue
        for precision in PRECISIONS:
            yield (layer, kind, precision), run["name"], measure(specials, run, layer, batch, precision)


def section(specials, kernels, batch):
    lines = [
        HEAD,
        "",
        "Of the products of the three blocks, as training compiles them: for their very sizes, for `sm_90`, in TF32,",
        "which is what convolutions are computed in by default, and in f32. Branches are those of the loop, the one",
        "back included. An arrow leads from what the kernels were with branches around their loads to what they are:",
        "loads under predicates are all on their way at once, where behind a branch each waited for the one before.",
        "",
        "The last two columns are **a model's estimate, not a measurement** (`scripts/kernels/model.py`, and what it",
        "leaves out): cycles of the loop for one tile of k, with as many blocks on a multiprocessor as an H200 gets",
        "of this grid, and what all tiles of a block take at 1.9 GHz.",
        "",
        "| layer | pass | kernel | precision | instructions | in the loop | branches | registers "
        "| blocks on a multiprocessor | tiles of k | cycles a tile | us |",
        "|--:|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    sums = {}
    for key, name, now in rows(specials, kernels, batch):
        layer, kind, precision = key
        before = BEFORE.get(key)
        cells = [str(value) for value in now] + [f"{microseconds(now):.1f}"]
        if before:
            old = [str(value) for value in before] + [f"{microseconds(before):.1f}"]
            cells = [f"{was} → {now}" for was, now in zip(old, cells)]
        sums.setdefault(precision, [0, 0])
        for i, measured in enumerate((before or now, now)):
            sums[precision][i] += microseconds(measured)
        words = (str(layer + 1), PASSES[kind], f"`{name}`", PRECISIONS[precision])
        lines.append("| " + " | ".join((*words, *cells)) + " |")
    told = ", ".join(f"{PRECISIONS[p]} {was:.1f} → {now:.1f} us" for p, (was, now) in sums.items())
    lines += ["", f"The loops of all eight, one after the other, by the model: {told}."]
    return "\n".join(lines) + "\n"
