#!/usr/bin/env python3
"""Writes the plan of a training step into docs/kernels.md; scripts/kernel-table calls it.

  plan.py WORK NVRTC

WORK has plan.json (`signet train --explain --json`), touched.jsonl (what cusim counted in the same run)
and the CUBINs of all kernels; NVRTC is the folder of scripts/fetch-nvrtc.
"""
from __future__ import annotations

import json
import math
import pathlib
import re
import sys

import loops
import sass
import special

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs" / "kernels.md"
HEAD = "## The plan of a training step"
# What a multiprocessor of these has: shared memory in KiB.
SHARED = {80: 164, 90: 228}
# Multiprocessors of an H100, its memory in bytes/s, single precision in FLOP/s, and a launch of a
# captured graph: from its data sheet, for estimates alone.
H100 = {"multiprocessors": 132, "bytes": 3.35e12, "flops": 50e12, "launch": 2e-6}


def resources(document):
    """Registers on each target and bytes of shared memory of each single-precision kernel."""
    first = document.split("## Products on tensor cores")[0]
    found, columns = {}, None
    for line in first.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells[:1] == ["kernel"]:
            columns = cells
        elif columns and line.startswith("| [`"):
            row = dict(zip(columns, cells))
            name = re.match(r"\[`(\w+)`\]\(\.\./kernels/(\w+)\.cu\)", row["kernel"])
            found[name[1]] = {
                "file": name[2],
                "shared": int(row["shared"].split(",")[0]),
                "registers": {target: int(row[f"sm_{target}"]) for target in SHARED},
            }
    return found


def occupancy(target, registers, shared, threads):
    """The share of a multiprocessor's 64 warps that fit at once."""
    warps = math.ceil(threads / 32)
    of_warp = math.ceil(registers * 32 / 256) * 256
    by_registers = 65536 // of_warp // 4 * 4 // warps
    by_shared = SHARED[target] * 1024 // (math.ceil(shared / 128) * 128 + 1024)
    blocks = min(32, 64 // warps, by_registers, by_shared)
    return blocks * warps / 64


def dimensions(sizes):
    while len(sizes) > 1 and sizes[-1] == 1:
        sizes = sizes[:-1]
    return "x".join(map(str, sizes))


# What looks poor, by a word, and what would mend it.
REMARKS = {
    "launch": "its bytes and FLOP take less than a launch; computed in a neighbour's kernel it would cost none",
    "blocks": "fewer blocks than multiprocessors: cutting the result or the sum finer would give work to all",
    "reuse": "under half of the inner loop multiplies: more results a thread would share loads and addresses",
    "narrow": "most loads from shared memory are of one value: operands side by side would be loaded together",
    "warps": "under a quarter of the warps that a multiprocessor holds: fewer registers or less shared memory a "
    "block would hide more latency",
}


def remarks(run, loop, share):
    blocks, cost = math.prod(run["launch"]["grid"]), run["cost"]
    work = max(cost["bytes"] / H100["bytes"], cost["flops"] / H100["flops"])
    # Where the arithmetic decides.
    product = cost["flops"] > 16 * cost["bytes"] / 4 and work >= H100["launch"]
    holds = {
        "launch": work < H100["launch"],
        "blocks": work >= H100["launch"] and blocks < H100["multiprocessors"],
        "reuse": product and loop.math_share < 0.5,
        "narrow": product and not loop.wide,
        "warps": work >= H100["launch"] and share < 0.25,
    }
    return ", ".join(word for word in REMARKS if holds[word])


def plan(work, specials, document):
    runs = json.loads((work / "plan.json").read_text())
    kernels, batch = runs["kernels"], runs["batch"]
    touched = [json.loads(line) for line in (work / "touched.jsonl").read_text().splitlines()]
    names = [run["name"] for run in kernels]
    counted = [one["kernel"] for one in touched]
    start = next(i for i in range(len(counted)) if counted[i : i + len(names)] == names)
    uses, nvdisasm = resources(document), str(specials.nvdisasm)
    total = {key: sum(run["cost"][key] for run in kernels) for key in ("flops", "bytes")}
    moved = sum(one["read"] + one["written"] for one in touched[start : start + len(names)])
    lines = [
        HEAD,
        "",
        f"The {len(kernels)} kernels of one step at batch {batch} in single precision, in order, as",
        "`signet train --explain` has them. FLOP and bytes are what the kernel declares; bytes touched are",
        "those of global memory that [cusim](../cusim/README.md) saw it read and those that it saw it write,",
        "each counted once. Occupancy is the share of a multiprocessor's warps that registers, shared memory",
        "and threads leave room for. Registers, shared memory and the inner loop of a block's kernels are those",
        "of the module that training compiles for its very sizes. The inner loop is that of the machine code for",
        "`sm_90`, disassembled: how many instructions, which of them multiply (FFMA, or HMMA on tensor cores),",
        "and the loads from shared memory by their width in bits. Behind each kernel that looks poor stands why:",
        "",
        *(f"- **{word}**: {words}." for word, words in REMARKS.items()),
        "",
        "For these a launch counts 2 us and an H100 as its data sheet has it (132 multiprocessors, 3.35 TB/s,",
        "50 TFLOP/s in practice): estimates, not measurements.",
        "",
        f"Sum: {total['flops']:,} FLOP, {total['bytes']:,} bytes declared, {moved:,} touched.",
        "",
        "| kernel | grid x block | FLOP | bytes | touched | registers sm_80, sm_90 | shared | occupancy sm_80, sm_90 "
        "| inner loop | multiplies | shared loads | poor for |",
        "|---|---|--:|--:|--:|---|--:|---|--:|---|---|---|",
    ]
    for run, seen, layer in zip(kernels, touched[start:], special.layers(kernels, batch)):
        name, launch = run["name"], run["launch"]
        if name not in uses:
            raise SystemExit(f"plan.py: {DOCUMENT} knows no kernel {name}")
        use, threads = uses[name], math.prod(launch["block"])
        if layer is None:
            loop = sass.inner_loop(nvdisasm, work / f"{use['file']}.float.sm_90.cubin", name)
        else:
            used = {target: specials.uses(name, layer, "F32", target) for target in SHARED}
            use = {"registers": {target: one[0] for target, one in used.items()}, "shared": used[90][1]}
            loop = specials.loop(name, layer, "F32", 90)
        shared = use["shared"] + launch["dynamic_shared"]
        shares = {target: occupancy(target, use["registers"][target], shared, threads) for target in SHARED}
        if [launch["grid"], launch["block"]] != [seen["grid"], seen["block"]]:
            raise SystemExit(f"plan.py: {name} was counted with another grid")
        cells = (
            f"`{name}`",
            f"{dimensions(launch['grid'])} x {dimensions(launch['block'])}",
            run["cost"]["flops"],
            run["cost"]["bytes"],
            seen["read"] + seen["written"],
            ", ".join(str(registers) for registers in use["registers"].values()),
            shared,
            ", ".join(f"{share:.0%}" for share in shares.values()),
            f"{loop.length} instructions" if loop.is_loop else f"none; {loop.length} in all",
            loop.multiplies(),
            loop.loads(),
            remarks(run, loop, shares[90]),
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n\n" + loops.section(specials, kernels, batch)


def main():
    work = pathlib.Path(sys.argv[1])
    document = DOCUMENT.read_text().split(HEAD)[0].rstrip("\n")
    DOCUMENT.write_text(document + "\n\n" + plan(work, special.Special(work, sys.argv[2]), document))


if __name__ == "__main__":
    main()
