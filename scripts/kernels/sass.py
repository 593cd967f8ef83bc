"""The inner loop of a kernel's machine code, by NVIDIA's disassembler."""
from __future__ import annotations

import collections
import functools
import re
import subprocess

# Not HFMA2, which the compiler takes to load constants. An HMMA multiplies as much as 32 FFMA or more.
MULTIPLIES = {"FFMA": 1, "DFMA": 1, "HMMA": 32}
LABEL = re.compile(r"^(\.L_x_\d+):")
INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9_.a-z]+)(.*)")
BRANCH = re.compile(r"\(\s*(\.L_x_\d+)\s*\)")


class Loop:
    """Instructions that run again and again, as the disassembler has them; of a kernel without a loop, all."""

    def __init__(self, lines, is_loop):
        self.lines, self.length, self.is_loop = lines, len(lines), is_loop
        self.names = collections.Counter(map(name_of, lines))
        self.shared_loads = {
            width: count for width in (128, 64, 32) if (count := sum(
                n for name, n in self.names.items() if name.startswith("LDS") and width_of(name) == width
            ))
        }

    def count(self, operation):
        return sum(n for name, n in self.names.items() if name.split(".")[0] == operation)

    @property
    def math_share(self):
        return sum(map(self.count, MULTIPLIES)) / max(1, self.length)

    @property
    def work(self):
        return sum(weight * self.count(name) for name, weight in MULTIPLIES.items())

    @property
    def wide(self):
        """Whether most loads from shared memory are of more than one value."""
        return self.shared_loads.get(32, 0) <= sum(self.shared_loads.values()) / 2

    def multiplies(self):
        found = {name: self.count(name) for name in MULTIPLIES if self.count(name)}
        told = ", ".join(f"{count} {name} ({count / self.length:.0%})" for name, count in found.items())
        return told or "none"

    def loads(self):
        return ", ".join(f"{count} of {width}" for width, count in self.shared_loads.items()) or "none"


def name_of(line):
    return INSTRUCTION.match(line)[1].rstrip(";")


def width_of(name):
    if name.startswith("LDSM"):
        return 128
    return next((width for width in (128, 64) if f".{width}" in name), 32)


@functools.cache
def functions(nvdisasm, cubin):
    """The lines of each function."""
    text = subprocess.run([nvdisasm, "--print-code", str(cubin)], check=True, text=True, capture_output=True).stdout
    parts = re.split(r"^\.text\.(\w+):$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def length(nvdisasm, cubin, function):
    """Instructions of all of it."""
    lines = filter(INSTRUCTION.match, functions(nvdisasm, cubin)[function].splitlines())
    return sum(name_of(line) != "NOP" for line in lines)


def inner_loop(nvdisasm, cubin, function):
    """Of the loops without a loop inside, the one that multiplies most, or else the longest."""
    lines, places, loops = [], {}, []
    for line in functions(nvdisasm, cubin)[function].splitlines():
        if label := LABEL.match(line.strip()):
            places[label[1]] = len(lines)
        elif found := INSTRUCTION.match(line):
            lines.append(line)
            target = BRANCH.search(found[2])
            # A branch to a label that was met already goes back; one to itself only fills up the code.
            if name_of(line).startswith("BRA") and target and places.get(target[1], len(lines)) < len(lines) - 1:
                loops.append((places[target[1]], len(lines)))
    inner = [a for a in loops if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    candidates = [Loop(lines[begin:end], True) for begin, end in inner]
    if not candidates:
        return Loop([line for line in lines if name_of(line) != "NOP"], False)
    return max(candidates, key=lambda loop: (loop.work, loop.length))
