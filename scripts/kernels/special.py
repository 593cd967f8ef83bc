"""Kernels as training runs them: compiled for the sizes of each of the network's convolutional blocks."""
from __future__ import annotations

import functools
import pathlib
import re

import sass
from nvrtc import ROOT, Nvrtc

FILE = "conv_block"
# Of the three blocks: channels, rows and columns in, filters, rows and columns of what is pooled.
LAYERS = ((1, 28, 28, 25, 14, 14), (25, 14, 14, 50, 7, 7), (50, 7, 7, 75, 3, 3))
TAPS = 9


def constants(layer):
    """`GEOMETRY` of kernels/conv_block.cu: filters of 3 x 3 with a padding of 1, windows of 2 x 2."""
    channels, height, width, filters, pooled_height, pooled_width = LAYERS[layer]
    conv = (channels, height, width, filters, height, width, 3, 3, 1, 1, 1, 1, 1, 1)
    return (*conv, 0, height, width, pooled_height, pooled_width, 2, 2, 2, 2, 0, 0)


def layers(kernels, batch):
    """Of each kernel of a step, in order, the layer that it belongs to, or None: forward they come from the
    first on, backward from the last."""
    seen, found = {}, []
    for run in kernels:
        name = run["name"].removesuffix("_few")
        if not name.startswith(FILE):
            found.append(None)
            continue
        number = seen[name] = seen.get(name, -1) + 1
        layer = number if name in (f"{FILE}_conv", f"{FILE}_pool") else len(LAYERS) - 1 - number
        channels, height, width, filters, *_ = LAYERS[layer]
        flops = 2 * batch * filters * height * width * channels * TAPS
        if name in (f"{FILE}_conv", f"{FILE}_weight", f"{FILE}_input") and run["cost"]["flops"] != flops:
            raise SystemExit(f"special.py: {name} number {number + 1} is of no layer of the network")
        found.append(layer)
    return found


class Special:
    def __init__(self, work, folder):
        self.work, self.nvrtc = pathlib.Path(work), Nvrtc(folder)
        self.nvdisasm = next(pathlib.Path(folder).glob("nvidia/*/bin/nvdisasm"))

    @functools.cache
    def compiled(self, layer, precision, target):
        """The CUBIN's path and the compiler's log."""
        geometry = ",".join(map(str, constants(layer)))
        options = ("-DSCALAR=float", f"-DPRECISION=PRECISION_{precision}", f"-DGEOMETRY={geometry}")
        cubin, log = self.nvrtc.compile(ROOT / "kernels" / f"{FILE}.cu", f"sm_{target}", *options)
        path = self.work / f"{FILE}.{layer}.{precision}.sm_{target}.cubin"
        path.write_bytes(cubin)
        return path, log

    def uses(self, name, layer, precision, target):
        """Registers of a thread, bytes of shared memory of a block, bytes spilled."""
        log = self.compiled(layer, precision, target)[1].split(f"'{name}'", 1)[1].split("Compiling entry", 1)[0]
        number = lambda pattern: int(found[1]) if (found := re.search(pattern, log)) else 0
        spilled = number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads")
        return number(r"Used (\d+) registers"), number(r"(\d+) bytes smem"), spilled

    def loop(self, name, layer, precision, target):
        return sass.inner_loop(str(self.nvdisasm), self.compiled(layer, precision, target)[0], name)
