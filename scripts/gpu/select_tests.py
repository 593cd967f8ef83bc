"""Which tests of a test binary belong on a GPU: decided by what the binary lists, not by its source.

Used where the bundle is made, so that the bundle names every test that is to run there.
"""
from __future__ import annotations

import re

LISTED = re.compile(r"^(.+): test$", re.MULTILINE)


def listed(listing):
    """The tests in what `BINARY --list` says."""
    return LISTED.findall(listing)


def belongs(binary, test, excluded):
    """Whether a test uses the device and can do so away from where it was compiled.

    `excluded` are modules, each with its binary and path, whose tests drive the program, which they
    look for where it was built.
    """
    modules = [binary, *test.split("::")[:-1]]
    paths = ("::".join(modules[:i + 1]) for i in range(len(modules)))
    # Tests of the stand-in itself have nothing to do on a GPU.
    if "sim" in modules or any(path in excluded for path in paths):
        return False
    return any(module == "cuda" or module.startswith("cuda_") for module in modules)


def select(binary, all_tests, ignored, excluded):
    """The tests for every run, and those that are ignored there for being long."""
    ours = [test for test in all_tests if belongs(binary, test, excluded)]
    return [test for test in ours if test not in ignored], [test for test in ours if test in ignored]
