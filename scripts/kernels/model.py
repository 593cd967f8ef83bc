"""A model of an inner loop on a Hopper multiprocessor: what it may cost, where no GPU tells what it does.

One of the four parts of a multiprocessor: it issues one instruction a cycle, of the warps in turn, each in order; an
instruction waits for its operands, and for its pipe. Latencies and rates are those that others measured on Hopper, a
load from global memory takes what the L2 cache takes. It knows no bank conflicts, no full queues and no cold caches:
good for comparing two versions of a loop, and for nothing else.
"""
from __future__ import annotations

import collections
import re

CLOCK = 1.9e9  # Hz, of an H200
PARTS = 4  # of a multiprocessor
LANES_AT_ONCE = 2  # cycles for which a warp keeps a pipe of 16 lanes

# Pipe, cycles it is taken, cycles until the result is there. Shared memory serves all four parts.
ALU = ("alu", LANES_AT_ONCE, 5)
PIPES = {
    **dict.fromkeys(("FFMA", "FADD", "FMUL"), ("fma", 1, 4)),
    "IMAD": ("fma", LANES_AT_ONCE, 5),
    **dict.fromkeys(("MOV", "CS2R", "HFMA2"), ("alu", 1, 5)),
    "LDS": ("memory", 4, 30),
    "STS": ("memory", 4, 1),
    "LDG": ("memory", 4, 240),
    "LDC": ("memory", 2, 30),
    "HMMA": ("tensor", 8, 18),
    **dict.fromkeys(("BRA", "BSSY", "BSYNC", "BAR", "NOP", "EXIT", "WARPSYNC"), ("control", 1, 1)),
}
# Cycles until the warp goes on behind these.
AFTER = {"BSSY": 2, "BSYNC": 10, "BRA": 6}
BACK, BARRIER = 12, 22  # behind the branch back, and behind a barrier

INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]+\*/\s+(?:@!?(U?P\w+)\s+)?([A-Z0-9_.a-z]+)\s*(.*?)\s*;")


class Instruction:
    def __init__(self, line):
        guard, self.name, rest = INSTRUCTION.match(line).groups()
        self.base = self.name.split(".")[0]
        operands = [word.strip() for word in re.split(r",(?![^\[]*\])", rest)] if rest else []
        width = 4 if ".128" in self.name else 2 if ".64" in self.name else 1
        address = 2 if ".64" in rest else 1
        self.reads, self.writes = predicates(guard or ""), []
        if self.base in ("LDS", "LDG", "LDC"):
            self.writes = registers(operands[0], width)
            self.read(operands[1:], address)
        elif self.base in ("STS", "STG"):
            self.read(operands[:1], address)
            self.read(operands[1:], width)
        elif self.base == "HMMA":
            self.writes = registers(operands[0], 4)
            for operand, count in zip(operands[1:], (4, 2, 4)):
                self.read([operand], count)
        elif self.base in PIPES and PIPES[self.base][0] == "control":
            self.read(operands, 1)
        elif operands:
            results = 1
            # Predicates among the results: of comparisons both, of sums the carries.
            while results < len(operands) and re.fullmatch(r"!?P(\d|T)", operands[results]) and results < 3:
                if self.base not in ("ISETP", "FSETP", "DSETP", "PLOP3", "IADD3", "LEA"):
                    break
                results += 1
                if self.base.endswith("SETP") and results == 2:
                    break
            wide = "WIDE" in self.name or self.base == "CS2R"
            for operand in operands[:results]:
                self.writes += registers(operand, 2 if wide else 1) + predicates(operand)
            for place, operand in enumerate(operands[results:]):
                self.read([operand], 2 if "WIDE" in self.name and place == 2 else 1)
        self.pipe, self.taken, self.latency = PIPES.get(self.base, ALU)
        if self.base == "LDS" and width == 4:
            self.taken = 6

    def read(self, operands, width):
        for operand in operands:
            self.reads += registers(operand, width) + predicates(operand)


def registers(operand, width):
    return [f"R{int(number) + i}" for number in re.findall(r"(?<![UA-Z])R(\d+)", operand) for i in range(width)]


def predicates(operand):
    return [f"P{number}" for number in re.findall(r"(?<!U)P(\d)", operand)]


class Warp:
    def __init__(self, block):
        self.block, self.at, self.next, self.waits, self.ends = block, 0, 0, False, []
        self.ready = collections.defaultdict(int)


def cycles(loop, blocks, threads, rounds=6):
    """Cycles of one round of `loop` with so many blocks of so many threads on a multiprocessor."""
    instructions = [Instruction(line) for line in loop.lines]
    each = threads // 32 // PARTS
    warps = [Warp(number // each) for number in range(blocks * each)]
    pipes, arrived = collections.defaultdict(int), collections.defaultdict(list)
    now, first = 0, 0
    while any(len(warp.ends) < rounds for warp in warps):
        for turn in range(len(warps)):
            number = (first + turn) % len(warps)
            warp = warps[number]
            if len(warp.ends) == rounds or warp.waits or warp.next > now:
                continue
            instruction = instructions[warp.at]
            if pipes[instruction.pipe] > now or any(warp.ready[name] > now for name in instruction.reads):
                continue
            pipes[instruction.pipe] = now + instruction.taken
            for name in instruction.writes:
                warp.ready[name] = now + (7 if name[0] == "P" else instruction.latency)
            warp.at += 1
            warp.next = now + AFTER.get(instruction.base, 1)
            if instruction.base == "BAR":
                warp.waits = True
                arrived[warp.block].append(warp)
                if len(arrived[warp.block]) == each:
                    for other in arrived.pop(warp.block):
                        other.waits, other.next = False, now + BARRIER
            if warp.at == len(instructions):
                warp.at, warp.next = 0, now + BACK
                warp.ends.append(now)
            first = number + 1
            break
        now += 1
    # Without the first two rounds, in which the warps come out of step.
    return max((warp.ends[-1] - warp.ends[1]) / (rounds - 2) for warp in warps)
