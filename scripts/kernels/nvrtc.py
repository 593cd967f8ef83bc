"""NVIDIA's run-time compiler, for scripts that look at a kernel without a GPU."""
from __future__ import annotations

import ctypes
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# What the library tells NVRTC: src/device/cuda/nvrtc.rs.
OPTIONS = ("--std=c++17", "--fmad=true", "--ftz=false", "--prec-div=true", "--prec-sqrt=true")


class Nvrtc:
    """The library that scripts/fetch-nvrtc put under `folder`."""

    def __init__(self, folder):
        libraries = sorted(pathlib.Path(folder).glob("nvidia/*/lib/libnvrtc.so.*"))
        if not libraries:
            raise SystemExit(f"there is no NVRTC in {folder}: run scripts/fetch-nvrtc")
        # It opens its built-ins by name, which it finds when they are there already.
        for builtins in libraries[0].parent.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(str(libraries[0]))
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def call(self, function, *arguments):
        code = getattr(self.library, function)(*arguments)
        if code and function != "nvrtcCompileProgram":
            raise SystemExit(f"{function}: {self.library.nvrtcGetErrorString(code).decode()}")
        return code

    def text(self, program, what):
        size = ctypes.c_size_t()
        self.call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self.call(f"nvrtcGet{what}", program, buffer)
        return buffer.raw

    def compile(self, file, target, *options):
        """CUBIN and log of a file that may include the headers in kernels/."""
        file = pathlib.Path(file)
        headers = sorted((ROOT / "kernels").glob("*.cuh"))
        texts = (ctypes.c_char_p * len(headers))(*(header.read_bytes() for header in headers))
        names = (ctypes.c_char_p * len(headers))(*(header.name.encode() for header in headers))
        program = ctypes.c_void_p()
        self.call("nvrtcCreateProgram", ctypes.byref(program), file.read_bytes(), file.name.encode(), len(headers), texts, names)
        words = [f"--gpu-architecture={target}", *OPTIONS, "--ptxas-options=-v", *options]
        failed = self.call("nvrtcCompileProgram", program, len(words), (ctypes.c_char_p * len(words))(*(w.encode() for w in words)))
        log = self.text(program, "ProgramLog").rstrip(b"\0").decode()
        if failed:
            raise SystemExit(f"{file}: {log}")
        return self.text(program, "CUBIN"), log
