"""Running programs within the time that is left, with everything they say kept in one log."""
from __future__ import annotations

import os
import signal
import subprocess
import time


class Done:
    """How a program ended."""

    def __init__(self, code, output, errors, seconds):
        self.code = code  # None: it was stopped at its time limit, or could not be started
        self.output = output
        self.errors = errors
        self.seconds = seconds

    @property
    def ok(self):
        return self.code == 0

    def ending(self):
        """In words, for a report."""
        if self.code is None:
            return f"stopped after {self.seconds:.0f} s"
        if self.code < 0:
            return f"ended by {signal.Signals(-self.code).name}"
        return f"exit code {self.code}"


class Commands:
    """Starts programs in `folder`; none of them outlives the deadline."""

    def __init__(self, log, folder, seconds):
        self.folder = folder
        self.log = open(log, "w", encoding="utf-8", errors="replace")
        self.deadline = time.monotonic() + seconds
        self.part_deadline = self.deadline

    def begin_part(self, share):
        """Gives what runs from now on this share of the time that is left."""
        left = self.deadline - time.monotonic()
        self.part_deadline = time.monotonic() + max(0.0, left * share)

    def left(self):
        """Seconds that the part may still take."""
        return self.part_deadline - time.monotonic()

    def run(self, command, limit=float("inf"), environment=None):
        """Runs a program to its end, or to `limit` seconds, or to the part's deadline."""
        command = [str(word) for word in command]
        limit = min(limit, self.left())
        print(f"\n$ {' '.join(command)}", file=self.log, flush=True)
        start = time.monotonic()
        if limit <= 0:
            return self._done(None, "", "no time left", start)
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            return self._done(None, "", str(error), start)
        try:
            output, errors = process.communicate(timeout=limit)
            code = process.returncode
        except subprocess.TimeoutExpired:
            stop(process)
            output, errors = process.communicate()
            code = None
        except BaseException:
            stop(process)
            raise
        return self._done(code, output, errors, start)

    def _done(self, code, output, errors, start):
        done = Done(code, output, errors, time.monotonic() - start)
        for text in (output, errors):
            if text.strip():
                print(text.rstrip("\n"), file=self.log)
        print(f"# {done.ending()}, {done.seconds:.1f} s", file=self.log, flush=True)
        return done


def stop(process):
    """Ends a program and what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
