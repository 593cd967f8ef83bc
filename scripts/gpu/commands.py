"""Running programs within the time that is left, with what they say kept in one log."""
from __future__ import annotations

import os
import signal
import subprocess
import time

# Of what one program says, beginning and end together; and of the log. Files that come back from a
# machine on loan must be small.
MOST_OF_A_PROGRAM = 200_000
MOST_OF_THE_LOG = 10_000_000
# Until a killed program is given up: one that waits for a driver may not die.
PATIENCE = 5


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
            return f"ended by {signal_name(-self.code)}"
        return f"exit code {self.code}"

    def why(self):
        """How it ended, and the end of what it said."""
        said = (self.errors.strip() or self.output.strip())[-600:]
        return f"{self.ending()}: {said}" if said else self.ending()


def signal_name(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Commands:
    """Starts programs in `folder`; none of them outlives the deadline."""

    def __init__(self, log, folder, seconds):
        self.folder = folder
        self.log = open(log, "w", encoding="utf-8", errors="replace")
        self.logged = 0
        self.deadline = time.monotonic() + seconds
        self.part_deadline = self.deadline

    def begin_part(self, share):
        """Gives what runs from now on this share of the time that is left."""
        left = self.deadline - time.monotonic()
        self.part_deadline = time.monotonic() + max(0.0, left * share)

    def end_part(self):
        """Whether the part used up its time."""
        return self.left() <= 0

    def left(self):
        """Seconds that the part may still take."""
        return self.part_deadline - time.monotonic()

    def run(self, command, limit=float("inf"), environment=None):
        """Runs a program to its end, or to `limit` seconds, or to the part's deadline."""
        command = [str(word) for word in command]
        limit = min(limit, self.left())
        self._say(f"\n$ {' '.join(command)}")
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
            code, (output, errors) = None, stop(process)
        except BaseException:
            stop(process)
            raise
        return self._done(code, output, errors, start)

    def _done(self, code, output, errors, start):
        done = Done(code, output, errors, time.monotonic() - start)
        for text in (output, errors):
            if text.strip():
                self._say(shorten(text.rstrip("\n"), MOST_OF_A_PROGRAM))
        self._say(f"# {done.ending()}, {done.seconds:.1f} s")
        return done

    def _say(self, text):
        self.logged += len(text.encode("utf-8", "replace")) + 1
        if self.logged <= MOST_OF_THE_LOG:
            print(text, file=self.log, flush=True)


def shorten(text, most):
    """Beginning and end of a text that is too long."""
    if len(text) <= most:
        return text
    return f"{text[:most // 2]}\n[.. {len(text) - most} characters left out ..]\n{text[-(most // 2):]}"


def stop(process):
    """Ends a program and what it started; what it said until then."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    try:
        return process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        said = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text or "" for text in (error.output, error.stderr)]
        return said[0], said[1] + "\nit was killed and does not end"
