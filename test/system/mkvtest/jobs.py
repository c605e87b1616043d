"""Runs the programs beside the master: mkv-index, mkv-verify and so on."""
import json
import os
import subprocess

from .cluster import BIN


class Outcome:
    def __init__(self, command, done):
        self.command, self.status, self.out, self.errors = command, done.returncode, done.stdout, done.stderr

    def __repr__(self):
        return f"{self.command}: exit {self.status}\n{self.out[-3000:]!r}\n{self.errors.decode(errors='replace')[-3000:]}"

    @property
    def text(self):
        return self.out.decode()

    @property
    def why(self):
        return self.errors.decode(errors="replace")

    @property
    def json(self):
        return json.loads(self.out)

    def expect(self, status):
        assert self.status == status, self
        for sign in ("Sanitizer", "runtime error"):
            assert sign not in self.why, self
        return self


def run(program, *words, stdin=b"", timeout=120, environment=None):
    command = [os.fsencode(BIN / program)] + [w if isinstance(w, bytes) else os.fsencode(str(w)) for w in words]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False,
                          env={**os.environ, **(environment or {})})
    return Outcome(command, done)


def index(db, *words, **options):
    return run("mkv-index", "-db", db, *words, **options)
