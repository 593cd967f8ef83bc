#!/usr/bin/env python3
"""Makes the bundle of scripts/gpu-check out of what it built: chooses the tests, prepares the variants
of the kernels, packs, and holds the size against what may travel.

  pack.py BUNDLE --commit TEXT --rustc TEXT [--data DIR]

BUNDLE is the folder with `tests` and `bin` in it; BUNDLE.tar.xz is written beside it.
"""
from __future__ import annotations

import argparse
import concurrent.futures
import glob
import gzip
import io
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile

sys.dont_write_bytecode = True

import select_tests
import variants

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
# Of the engine, and of the program.
TESTS = [os.path.join(ROOT, *package, "tests") for package in ([], ["program"])]
MEGABYTE = 1_000_000
# The packed bundle, and what a machine on loan takes: the bundle with the repository beside it.
MOST = 45 * MEGABYTE
MOST_WITH_REPOSITORY = 64 * 1024 * 1024
# Of data, packed side by side.
PIECE = 16 * 1024 * 1024
DATA = ("sign_mnist_train.csv", "sign_mnist_valid.csv", "sign_mnist_test.csv")
# Their tests drive the program, which they look for where it was built.
DRIVES_THE_PROGRAM = re.compile(r"CARGO_BIN_EXE|common::(program|machine)")
SCRIPTS = [os.path.join("scripts", "reference", "asl_pytorch.py"), os.path.join("scripts", "bench-pytorch")]


class Failed(Exception):
    """Why there is no bundle."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--commit", required=True)
    parser.add_argument("--rustc", required=True)
    parser.add_argument("--data")
    given = parser.parse_args()
    bundle = os.path.abspath(given.bundle)
    excluded = set().union(*map(excluded_modules, TESTS))
    tests, ignored, without = choose_tests(os.path.join(bundle, "tests"), excluded)
    copy_files(bundle)
    make_variants(bundle)
    if given.data:
        copy_data(given.data, os.path.join(bundle, "data"))
    needed = glibc(glob.glob(os.path.join(bundle, "bin", "*")) + glob.glob(os.path.join(bundle, "tests", "*")))
    about = {"commit": given.commit, "rustc": given.rustc, "glibc": needed, "tests": tests, "ignored": ignored}
    with open(os.path.join(bundle, "bundle.json"), "w", encoding="utf-8") as file:
        json.dump(about, file, indent=1)

    packed = pack(bundle)
    print(f"{bundle}: {sum(map(len, tests.values()))} tests of {', '.join(tests)}")
    if without:
        print(f"no CUDA test that can run elsewhere is in {', '.join(without)}: left out")
    print(f"commit {given.commit}; needs glibc {needed} or newer")
    hold_size(packed)
    name = os.path.basename(packed)
    print(f"On the machine with the GPU: python3 -m tarfile -e {name} && python3 {os.path.basename(bundle)}/run.py")


def excluded_modules(folder):
    """Modules whose source drives the program, by binary and path: `program::cli_train`."""
    found = set()
    for path in glob.glob(os.path.join(folder, "*", "**", "*.rs"), recursive=True):
        with open(path, encoding="utf-8") as file:
            if DRIVES_THE_PROGRAM.search(file.read()):
                words = os.path.splitext(os.path.relpath(path, folder))[0].split(os.sep)
                found.add("::".join(words[:-1] if words[-1] in ("mod", "main") else words))
    return found


def choose_tests(folder, excluded):
    """The tests of each binary, the long ones, and binaries without any, which are removed."""
    tests, ignored, without = {}, {}, []
    for name in sorted(os.listdir(folder)):
        binary = os.path.join(folder, name)
        answers = [say([binary, "--list", *more]) for more in ([], ["--ignored"])]
        everything, long = (select_tests.listed(answer) for answer in answers)
        if not everything:
            raise Failed(f"{binary} --list names no test")
        chosen, chosen_long = select_tests.select(name, everything, set(long), excluded)
        if chosen:
            tests[name] = chosen
        if chosen_long:
            ignored[name] = chosen_long
        if not chosen and not chosen_long:
            without.append(name)
            os.remove(binary)
    if not tests:
        raise Failed("no binary has a CUDA test")
    return tests, ignored, without


def say(command):
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def copy_files(bundle):
    here = os.path.join(ROOT, "scripts", "gpu")
    for path in glob.glob(os.path.join(here, "*.py")):
        if os.path.basename(path) not in ("pack.py", "selftest.py"):
            shutil.copy(path, bundle)
    for path in SCRIPTS:
        target = os.path.join(bundle, *path.split(os.sep)[1:])
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(os.path.join(ROOT, path), target)
    os.makedirs(os.path.join(bundle, "fixtures"), exist_ok=True)
    for path in glob.glob(os.path.join(ROOT, "tests", "fixtures", "*.safetensors")):
        shutil.copy(path, os.path.join(bundle, "fixtures"))
    shutil.copytree(os.path.join(ROOT, "kernels"), os.path.join(bundle, "kernels"))
    for path in glob.glob(os.path.join(ROOT, "LICENSE-*")):
        shutil.copy(path, bundle)


def make_variants(bundle):
    """Each variant's file, and its kernels where it edits any."""
    source = os.path.join(ROOT, "scripts", "gpu", "variants")
    for name, variant in variants.all_of(source).items():
        target = os.path.join(bundle, "variants", name)
        os.makedirs(target)
        shutil.copy(os.path.join(source, name, "variant.json"), target)
        if variant["edits"]:
            variants.make(variant, os.path.join(ROOT, "kernels"), os.path.join(target, "kernels"))


def copy_data(folder, target):
    """The CSV files, plain: packed with all else they are smaller than one by one."""
    os.makedirs(target)
    for name in DATA:
        plain, packed = os.path.join(folder, name), os.path.join(folder, name + ".gz")
        if os.path.isfile(plain):
            shutil.copy(plain, target)
        elif os.path.isfile(packed):
            with gzip.open(packed, "rb") as old, open(os.path.join(target, name), "wb") as new:
                shutil.copyfileobj(old, new)
    if not os.path.isfile(os.path.join(target, DATA[0])):
        raise Failed(f"--data: {folder} has no {DATA[0]}, plain or .gz")


def glibc(programs):
    """The newest version of glibc that the programs ask for."""
    found = {(2, 17)}
    for path in programs:
        with open(path, "rb") as file:
            found.update((int(a), int(b)) for a, b in re.findall(rb"GLIBC_(\d+)\.(\d+)", file.read()))
    return ".".join(map(str, max(found)))


def pack(bundle):
    """Writes BUNDLE.tar.xz: one stream of programs, which share much, and some of the data."""
    name = os.path.basename(bundle)
    parts = [io.BytesIO()]
    with tarfile.open(fileobj=parts[0], mode="w", format=tarfile.GNU_FORMAT) as tar:
        paths = [os.path.join(at, file) for at, _, files in os.walk(bundle) for file in files]
        data = os.path.join(bundle, "data") + os.sep
        for path in sorted(paths, key=lambda path: (path.startswith(data), path)):
            if path.startswith(data) and len(parts) == 1:
                parts.append(parts[0].tell())
            tar.add(path, os.path.join(name, os.path.relpath(path, bundle)), filter=nobody)
    whole = parts[0].getvalue()
    first = parts[1] if len(parts) > 1 else len(whole)
    pieces = [whole[:first], *(whole[at:at + PIECE] for at in range(first, len(whole), PIECE))]
    # Threads: the compressor lets go of Python's lock.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        packed = list(pool.map(compress, pieces, [True] + [False] * (len(pieces) - 1)))
    path = bundle + ".tar.xz"
    with open(path, "wb") as file:
        file.writelines(packed)
    return path


def compress(piece, programs):
    """A stream of xz; Python reads several in a row as one."""
    # Programs repeat each other over more than a usual dictionary.
    main = {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 96 << 20 if programs else 16 << 20}
    return lzma.compress(piece, filters=[{"id": lzma.FILTER_X86}, main] if programs else [main])


def nobody(entry):
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def hold_size(packed):
    """Says what travels, and refuses what would not."""
    size, repository = os.path.getsize(packed), size_of_repository()
    total = size + repository
    print(
        f"{packed}: {size / MEGABYTE:.1f} MB of at most {MOST / MEGABYTE:.0f}; with the repository, "
        f"{repository / MEGABYTE:.1f} MB, {total / MEGABYTE:.1f} MB of at most {MOST_WITH_REPOSITORY / MEGABYTE:.1f}"
    )
    if size > MOST:
        raise Failed(f"the bundle is {size / MEGABYTE:.1f} MB, over {MOST / MEGABYTE:.0f} MB; without --data it is smaller")
    if total > MOST_WITH_REPOSITORY:
        raise Failed("the bundle and the repository do not travel together: ignore or remove large files")


def size_of_repository():
    """Bytes of the files that git knows or would add."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    paths = [os.path.join(ROOT, os.fsdecode(name)) for name in set(names.split(b"\0")) if name]
    return sum(os.lstat(path).st_size for path in paths if os.path.lexists(path))


if __name__ == "__main__":
    try:
        main()
    except (Failed, variants.Invalid) as error:
        sys.exit(f"scripts/gpu-check: {error}")
