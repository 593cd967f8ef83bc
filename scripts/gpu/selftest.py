#!/usr/bin/env python3
"""Tests of the check itself, without a GPU: on programs that play `signet` and the test binaries."""
from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
import unittest.mock

sys.dont_write_bytecode = True

import commands
import kernel_times
import pack
import report
import sanitizer
import select_tests
import stress
import variants

HERE = os.path.dirname(os.path.abspath(__file__))

# Trains at once, and says the same each time; $HANG is what it never ends.
SIGNET = '''#!/usr/bin/env python3
import json, os, sys, time
words = sys.argv[1:]
if os.environ.get("HANG") in words:
    time.sleep(1000)
if words[0] == "devices":
    gpu = {"device": "cuda:0", "name": "a GPU", "compute_capability": "9.0"}
    print(json.dumps({"driver": {"cuda": "13.0"}, "nvrtc": {"version": "13.0", "path": ""}, "gpus": [gpu], "no_gpu": None}))
elif "--explain" in words:
    print(json.dumps({"kernels": [{"name": "adam", "cost": {}, "launch": {"grid": [1, 1, 1], "block": [256, 1, 1]}}]}))
elif words[0] == "train":
    value = lambda name: words[words.index(name) + 1]
    folder = os.path.join(value("--out"), value("--name"))
    os.makedirs(folder)
    for epoch in range(int(value("--epochs"))):
        # The second variant is twice as fast.
        seconds = 0.5 if os.environ.get("SIGNET_TUNE_WARPS") == "1024" else 1.0
        print(json.dumps({"epoch": epoch, "train_loss": 1.0, "train_accuracy": 0.5, "valid_accuracy": 0.5,
                          "train_seconds": seconds, "images_per_second": 640 / seconds}))
    open(os.path.join(folder, "model.safetensors"), "w").write("weights")
    open(os.path.join(folder, "profile.json"), "w").write('[{"name": "adam", "calls": 20, "seconds": 0.001}]')
elif words[0] == "bench":
    row = dict(kernels=1, median_seconds=2e-6, p10_seconds=1e-6, p90_seconds=3e-6, gflops=1, gigabytes_per_second=1,
               percent_of_roofline=50, limit="memory", ratio=None)
    names = ["adam/32"] if "--filter" in words else ["adam/32", "adam/1"]
    peaks = dict(bytes_per_second=1e12, flops_per_second=1e13, launch_seconds=1e-6)
    print(json.dumps({"peaks": peaks, "reference": None, "rows": [dict(row, name=name) for name in names]}))
else:
    sys.exit(2)
'''

# A Python whose PyTorch sees a GPU.
PYTORCH = '''#!/bin/sh
case "$*" in
*is_available*) echo 2.9 True ;;
*pytorch_modes.py*) echo '{"mode": "graph", "torch": "2.9", "step_s": 0.1}'; echo '{"mode": "eager", "torch": "2.9", "error": "no"}' ;;
*bench-pytorch*) echo '{"reference": "PyTorch 2.9", "rows": [{"name": "adam/32", "median_seconds": 0.000005}]}' ;;
esac
'''

TESTS = '''#!/usr/bin/env python3
import os, sys, time
name = "cuda_registry::sums_across_blocks_have_the_same_bits_every_time"
if name in sys.argv:
    times = int(os.environ["SIGNET_STRESS"])
    time.sleep(0.2 + times * float(os.environ["A_TIME"]))
    ok = times < int(os.environ.get("OTHER_BITS_AT", 1 << 30))
    print("it " + str(times) + " times in a second" if ok else "")
    print("test " + name + (" ... ok" if ok else " ... FAILED"))
    sys.exit(not ok)
names = {"checks_have_nothing_to_report": "ok", "agrees_with_the_cpu::unary": "ok", "fails": "FAILED", "alone": "FAILED", "long": "ignored"}
asked = [word for word in sys.argv[1:] if not word.startswith("--")]
if "--list" in sys.argv:
    chosen = ["long"] if "--ignored" in sys.argv else names
    print("".join(name + ": test\\n" for name in chosen))
    sys.exit()
failed = 0
for name in asked or names:
    state = names[name]
    if name == "alone" and len(asked) == 1 or name == "long" and "--ignored" in sys.argv:
        state = "ok"
    failed += state == "FAILED"
    print("test " + name + " ... " + state)
    if state == "FAILED":
        print("\\n---- " + name + " stdout ----\\nit is " + name)
sys.exit(101 if failed else 0)
'''


SANITIZER = '''#!/usr/bin/env python3
import os, subprocess, sys
print("========= COMPUTE-SANITIZER", flush=True)
if "REFUSES" in os.environ:
    print("========= Error: Device not supported\\n========= ERROR SUMMARY: 1 error")
    sys.exit(0)
at = next(i for i, word in enumerate(sys.argv) if i and word.startswith("/"))
done = subprocess.run(sys.argv[at:])
found = os.environ.get("FINDS") in sys.argv
print("========= ERROR SUMMARY: " + str(int(found)) + " errors")
sys.exit(99 if found else done.returncode)
'''


class Chosen(unittest.TestCase):
    def test_by_what_binaries_list(self):
        excluded = {"program::cuda_cli", "reliability::cache", "cuda_serve"}
        belongs = lambda binary, test: select_tests.belongs(binary, test, excluded)
        self.assertTrue(belongs("cuda_ops", "agrees_with_the_cpu::unary"))
        self.assertTrue(belongs("gradcheck", "cuda::every_op"))
        self.assertTrue(belongs("device", "cuda_ops::agrees_with_the_cpu::unary"))
        self.assertTrue(belongs("signet", "device::cuda::tests::events"))
        self.assertTrue(belongs("signet", "ops::cuda_tests::agrees_with_the_cpu::unary"))
        self.assertFalse(belongs("signet", "device::cuda::tests::sim::faults"))
        self.assertFalse(belongs("gradcheck", "cpu::every_op"))
        self.assertFalse(belongs("program", "cuda_cli::a_run_on_a_gpu"))
        self.assertFalse(belongs("program", "cuda_cli::deeper::a_run_on_a_gpu"))
        self.assertFalse(belongs("cuda_serve", "answers"))
        # What has its name elsewhere is another module.
        self.assertTrue(belongs("signet", "device::cuda::cache::tests::one_file"))
        self.assertTrue(belongs("engine", "cuda_cli::kernels"))
        # What has its own simulated device and no CUDA test.
        self.assertFalse(belongs("book_kernels", "every_step_is_the_product"))

    def test_a_binary_without_any_is_left_out(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("cuda_ops", "book_kernels"):
                program(os.path.join(folder, name), TESTS)
            tests, ignored, without = pack.choose_tests(folder, set())
            self.assertEqual(list(tests), ["cuda_ops"])
            self.assertEqual(ignored, {"cuda_ops": ["long"]})
            self.assertEqual(without, ["book_kernels"])
            self.assertEqual(os.listdir(folder), ["cuda_ops"])

    def test_those_that_drive_the_program_are_known(self):
        found = set().union(*map(pack.excluded_modules, pack.TESTS))
        for module in ("program::cuda_cli", "reliability::cache", "serve"):
            self.assertIn(module, found)
        for module in ("engine::cuda_network", "engine", "program", "cache"):
            self.assertNotIn(module, found)


class Packed(unittest.TestCase):
    def test_unpacked_by_python_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            bundle = os.path.join(folder, "bundle")
            os.makedirs(os.path.join(bundle, "data"))
            program(os.path.join(bundle, "run"), "#!/bin/sh\necho it runs\n")
            # More than one piece of data.
            rows = b"".join(b"%d,%d\n" % (i, i * i) for i in range(20_000))
            self.assertGreater(len(rows), 2 << 17)
            with open(os.path.join(bundle, "data", "rows.csv"), "wb") as file:
                file.write(rows)
            with unittest.mock.patch.object(pack, "PIECE", 1 << 17):
                packed = pack.pack(bundle)
            subprocess.run([sys.executable, "-m", "tarfile", "-e", packed, os.path.join(folder, "there")], check=True)
            with open(os.path.join(folder, "there", "bundle", "data", "rows.csv"), "rb") as file:
                self.assertEqual(file.read(), rows)
            said = subprocess.run([os.path.join(folder, "there", "bundle", "run")], capture_output=True, check=True)
            self.assertEqual(said.stdout, b"it runs\n")

    def test_what_does_not_travel_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "bundle.tar.xz")
            for size, refused in ((1000, False), (pack.MOST + 1, True)):
                with open(file, "wb") as text:
                    text.truncate(size)
                beside = unittest.mock.patch.object(pack, "size_of_repository", lambda: 6_000_000)
                with contextlib.redirect_stdout(io.StringIO()) as said, beside:
                    with self.assertRaises(pack.Failed) if refused else contextlib.nullcontext():
                        pack.hold_size(file)
                self.assertIn("of at most", said.getvalue())


class Variants(unittest.TestCase):
    def test_every_one_can_be_made(self):
        folder = os.path.join(HERE, "variants")
        changed = 0
        for name, variant in variants.all_of(folder).items():
            with tempfile.TemporaryDirectory() as scratch:
                target = os.path.join(scratch, "kernels")
                variants.make(variant, os.path.join(pack.ROOT, "kernels"), target)
                changed += bool(variant["edits"])
            self.assertTrue(name == variants.BASELINE or variant["env"] or variant["edits"], name)
        self.assertGreater(changed, 0)

    def test_an_edit_of_what_is_not_there_is_refused(self):
        with tempfile.TemporaryDirectory() as scratch:
            variant = {"edits": [{"file": "unary.cu", "find": "no such text", "replace": ""}]}
            with self.assertRaises(variants.Invalid):
                variants.make(variant, os.path.join(pack.ROOT, "kernels"), os.path.join(scratch, "kernels"))


class Ncu(unittest.TestCase):
    def test_launches_are_read(self):
        stall = "smsp__average_warps_issue_stalled_{}_per_issue_active.ratio"
        names = ["ID", "Kernel Name", "Grid Size", "Block Size", kernel_times.TIME, "launch__registers_per_thread"]
        names += [stall.format("barrier"), stall.format("long_scoreboard")]
        rows = [names, ["", "", "", "", "nsecond", "register/thread", "inst", "inst"]]
        rows += [["0", "adam(float *, int)", "(395, 1, 1)", "(256, 1, 1)", "3,200", "40", "0.5", "7.25"]]
        text = "==PROF== Connected\n" + "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)
        [launch] = kernel_times.parse(text)
        self.assertEqual(launch["name"], "adam")
        self.assertAlmostEqual(launch["seconds"], 3.2e-6)
        self.assertEqual(launch["registers"], 40)
        self.assertEqual(launch["stalls"], ["long_scoreboard 7.2", "barrier 0.5"])

    def test_an_error_is_no_launch(self):
        self.assertEqual(kernel_times.parse("==ERROR== Failed to initialize the profiler: LibraryNotLoaded\n"), [])
        self.assertEqual(kernel_times.parse(""), [])


class Programs(unittest.TestCase):
    def test_a_part_that_overruns_is_stopped_and_the_next_has_its_time(self):
        with tempfile.TemporaryDirectory() as folder:
            running = commands.Commands(os.path.join(folder, "log"), folder, 20)
            running.begin_part(0.1)
            start = time.monotonic()
            # It starts another, which must not hold the pipes open.
            done = running.run(["sh", "-c", "echo begun; sleep 100 & sleep 100"])
            self.assertLess(time.monotonic() - start, 6)
            self.assertIsNone(done.code)
            self.assertEqual(done.output, "begun\n")
            self.assertTrue(running.end_part())
            self.assertIsNone(running.run(["true"]).code)
            running.begin_part(1)
            self.assertTrue(running.run(["true"]).ok)
            running.log.close()

    def test_what_is_said_stays_small(self):
        self.assertEqual(len(commands.shorten("x" * 1000, 100).replace("x", "")), len("\n[.. 900 characters left out ..]\n"))
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "log")
            with unittest.mock.patch.object(commands, "MOST_OF_THE_LOG", 500_000):
                running = commands.Commands(path, folder, 60)
                running.begin_part(1)
                for _ in range(4):
                    self.assertEqual(len(running.run([sys.executable, "-c", "print('x' * 1_000_000)"]).output), 1_000_001)
            running.log.close()
            self.assertGreater(os.path.getsize(path), 200_000)
            self.assertLess(os.path.getsize(path), 500_000)


class Whole(unittest.TestCase):
    """run.py on a bundle that plays."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.bundle = os.path.join(self.folder, "bundle")
        for name in ("bin", "tests", "fixtures"):
            os.makedirs(os.path.join(self.bundle, name))
        program(os.path.join(self.bundle, "bin", "signet"), SIGNET)
        program(os.path.join(self.bundle, "tests", "cuda_ops"), TESTS)
        for file in os.listdir(HERE):
            if file.endswith(".py"):
                shutil.copy(os.path.join(HERE, file), self.bundle)
        pack.make_variants(self.bundle)
        self.set_tests(["agrees_with_the_cpu::unary"])

    def set_tests(self, names):
        about = {"commit": "c", "rustc": "r", "glibc": "2.34", "tests": {"cuda_ops": names}, "ignored": {"cuda_ops": ["long"]}}
        with open(os.path.join(self.bundle, "bundle.json"), "w", encoding="utf-8") as file:
            json.dump(about, file)

    def run_it(self, parts, *more, minutes=1.0, **environment):
        out = os.path.join(self.folder, "out")
        # No tool of this machine's, and no PyTorch.
        environment = {**os.environ, "PATH": self.path(), "CUDA_HOME": "/nowhere", **environment}
        command = [sys.executable, os.path.join(self.bundle, "run.py"), "--only", parts, "--minutes", str(minutes), "--out", out, *more]
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=False)
        self.seconds = time.monotonic() - start
        with open(os.path.join(out, "results.json"), encoding="utf-8") as file:
            results = json.load(file)
        with open(os.path.join(out, "results.md"), encoding="utf-8") as file:
            self.page = file.read()
        self.assertLessEqual(len(os.listdir(out)), 4, os.listdir(out))
        return done, results

    def path(self):
        folder = os.path.join(self.folder, "path")
        os.makedirs(folder, exist_ok=True)
        if not os.listdir(folder):
            program(os.path.join(folder, "python3"), f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
        return folder + ":/usr/bin:/bin"

    def test_what_a_machine_lacks_is_skipped(self):
        done, results = self.run_it("train,kernels,tests,long,sanitizer,variants")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIsNone(results["parts"]["sanitizer"]["ok"])
        self.assertIn("was not found", self.page)
        self.assertEqual(results["parts"]["variants"]["best"], "half-as-many-slices")
        self.assertIn("| half-as-many-slices |", self.page)
        self.assertIn("2.000", self.page)
        self.assertEqual(results["parts"]["variants"]["rows"][1]["tests"], "passed", results["parts"]["variants"]["rows"])
        self.assertIn("two runs leave the same bits", self.page)
        self.assertIn("## long: passed", self.page)

    def test_the_stress_is_as_long_as_there_is_time(self):
        self.set_tests(["cuda_registry::" + stress.TEST])
        done, results = self.run_it("stress", A_TIME="0.00002")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(results["parts"]["stress"]["times"], stress.WANTED)
        done, results = self.run_it("stress", minutes=0.4, A_TIME="0.001")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertLess(1000, results["parts"]["stress"]["times"])
        self.assertLess(results["parts"]["stress"]["times"], 20_000)
        self.assertIn("of 100000 wanted", self.page)
        done, results = self.run_it("stress", A_TIME="0.00002", OTHER_BITS_AT="50000")
        self.assertEqual(done.returncode, 1)
        self.assertFalse(results["parts"]["stress"]["ok"])

    def test_the_sanitizer_and_one_that_does_not_work(self):
        self.set_tests([sanitizer.SAMPLE])
        program(os.path.join(self.path().split(":")[0], "compute-sanitizer"), SANITIZER)
        done, results = self.run_it("sanitizer")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual([one["ok"] for one in results["parts"]["sanitizer"]["tools"]], [True] * 4)
        done, results = self.run_it("sanitizer", FINDS="initcheck")
        self.assertEqual(done.returncode, 1)
        self.assertEqual([one["ok"] for one in results["parts"]["sanitizer"]["tools"]], [True, True, False, True])
        done, results = self.run_it("sanitizer", REFUSES="1")
        self.assertIn("Device not supported", results["parts"]["sanitizer"]["skipped"])

    def test_pytorch_beside(self):
        python = os.path.join(self.folder, "python")
        program(python, PYTORCH)
        done, results = self.run_it("pytorch,bench", "--python", python, "--rounds", "2")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        part = results["parts"]["pytorch"]
        # 640 images are 20 steps of a second in all.
        self.assertAlmostEqual(part["ratios"]["graph"]["median"], 2.0)
        self.assertNotIn("eager", part["ratios"])
        self.assertEqual(part["problem"], "PyTorch, eager: no")
        self.assertEqual(len(part["rounds"]), 2)
        rows = {row["name"]: row["ratio"] for row in results["parts"]["bench"]["document"]["rows"]}
        self.assertAlmostEqual(rows["adam/32"], 2.5)
        self.assertIsNone(rows["adam/1"])
        self.assertIn("| adam/32 | 1 | 2.0 |", self.page)

    def test_failures_are_said_and_run_alone(self):
        self.set_tests(["agrees_with_the_cpu::unary", "fails", "alone"])
        done, results = self.run_it("tests")
        self.assertEqual(done.returncode, 1)
        # A process for each module.
        first, second = results["parts"]["tests"]["binaries"]
        self.assertEqual(first["tests"], {"agrees_with_the_cpu::unary": "passed"})
        states = second["tests"]
        self.assertEqual(states["fails"], "failed")
        self.assertEqual(states["alone"], "failed beside others, passed alone")
        self.assertIn("`cuda_ops` `fails`: failed. it is fails", self.page)

    def test_a_part_that_hangs_leaves_the_others_their_time(self):
        done, results = self.run_it("train,tests", minutes=0.5, HANG="train")
        self.assertLess(self.seconds, 30)
        self.assertEqual(done.returncode, 1)
        self.assertFalse(results["parts"]["train"]["ok"])
        self.assertIn("stopped after", results["parts"]["train"]["checks"][0]["detail"])
        self.assertTrue(results["parts"]["train"]["overran"])
        self.assertIn("its time was up", self.page)
        self.assertTrue(results["parts"]["tests"]["ok"])

    def test_a_fault_of_a_part_leaves_the_others(self):
        with open(os.path.join(self.bundle, "kernel_times.py"), "a", encoding="utf-8") as file:
            file.write("\n\ndef find(commands, python):\n    raise ValueError('a fault')\n")
        done, results = self.run_it("kernels,tests")
        self.assertEqual(done.returncode, 1)
        self.assertIn("a fault", self.page)
        self.assertTrue(results["parts"]["tests"]["ok"])

    def test_without_a_gpu_nothing_is_checked(self):
        done, results = self.run_it("train", HANG="devices", minutes=0.3)
        self.assertEqual(done.returncode, 2)
        self.assertIn("stopped", results)


class Page(unittest.TestCase):
    def test_kernels_of_two_runs_stand_side_by_side(self):
        kernel = lambda name, calls, seconds: {"name": name, "calls": calls, "seconds": seconds}
        one = [kernel("adam", 4, 3e-6), kernel("gather", 2, 1e-6)]
        lines = report.profile_table({"tf32": one, "f32": [kernel("adam", 4, 8e-6)]})
        self.assertEqual(lines[0], "| kernel | calls | us a call, tf32 | share | us a call, f32 | share |")
        self.assertEqual(lines[2:], [
            "| adam | 4 | 0.75 | 75.0% | 2.00 | 100.0% |", "| gather | 2 | 0.50 | 25.0% |  |  |",
            "| all |  | 4 us in all |  | 8 us in all |  |", "",
        ])

    def test_tables_survive_any_text(self):
        lines = report.table(("a", "b"), [("x|y", "one\ntwo")])
        self.assertEqual(lines[2], "| x/y | one two |")


def program(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(textwrap.dedent(text))
    os.chmod(path, 0o755)


if __name__ == "__main__":
    unittest.main()
