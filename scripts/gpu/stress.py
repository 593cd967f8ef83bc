"""Sums that blocks of a grid share, again and again: the bits must be the same every time.

Nothing else on a GPU can see that a block adds up what another has not written yet.
"""
from __future__ import annotations

import os

import tests

# The test, wherever it is, and how often it is wanted.
TEST = "sums_across_blocks_have_the_same_bits_every_time"
WANTED = 100_000
# The first run tells little but that it works, and what starting takes.
FIRST = 10


def run(commands, folder, binaries, environment):
    """As often as there is time for."""
    binary, test = next(
        ((name, test) for name, all in binaries.items() for test in all if test.split("::")[-1] == TEST), (None, None)
    )
    if not test:
        return {"ok": False, "problem": f"no binary has the test {TEST}", "times": 0, "wanted": WANTED}
    times, before = FIRST, None
    while True:
        command = [os.path.join(folder, binary), "--exact", "--show-output", "--test-threads=1", test]
        done = commands.run(command, environment={**environment, "SIGNET_STRESS": str(times)})
        state = tests.outcome(binary, [test], done)["tests"][test]
        if state != "passed":
            # One that found no time says nothing of the bits, those before it do.
            late = done.code is None and before
            said = tests.message(done.output, test) or done.why()
            return {
                "ok": bool(late), "problem": f"{times} times: {state}: {said}", "times": before[0] if before else 0,
                "wanted": WANTED, "said": before[2] if before else [],
            }
        said = [line for line in done.output.splitlines() if " times in " in line]
        print(f"  the same bits {times} times, {done.seconds:.1f} s", flush=True)
        a_time = done.seconds / times if not before else (done.seconds - before[1]) / max(1, times - before[0])
        # The second run tells how long one takes, the third uses that.
        share = 0.3 if not before else 0.8
        most = int(share * (commands.left() - (before or (0, done.seconds))[1]) / max(a_time, 1e-7))
        if before and (times >= WANTED or most < 2 * times) or not before and most <= times:
            return {"ok": True, "problem": None, "times": times, "wanted": WANTED, "said": said}
        before = (times, done.seconds, said)
        times = min(WANTED, most)
