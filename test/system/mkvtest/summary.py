"""Running the programs beside the master."""
import json
import os
import subprocess
from dataclasses import dataclass

from .cluster import BIN

TIMEOUT = 120


@dataclass
class Done:
    status: int
    summary: dict  # of -json; {} where there was none
    output: str
    errors: str


def command(program, volumes, db, *flags):
    return [str(BIN / program), "-volumes", ",".join(volumes), "-db", str(db), *map(str, flags)]


def check_errors(errors):
    for sign in ("Sanitizer", "runtime error", "ssertion"):
        assert sign not in errors, errors[-6000:]


def run(program, volumes, db, *flags, json_wanted=True, timeout=TIMEOUT):
    """To its end; a program that dies of a signal, or at a sanitizer's word, has failed the test."""
    words = command(program, volumes, db, *flags) + (["-json"] if json_wanted else [])
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False, env=os.environ)
    output, errors = done.stdout.decode(), done.stderr.decode(errors="replace")
    check_errors(errors)
    assert done.returncode in (0, 1, 2), (done.returncode, errors)
    summary = json.loads(output) if json_wanted and output else {}
    return Done(done.returncode, summary, output, errors)
