"""An outside account of what a store must hold, kept by the clients that load it."""
import random
import threading
from dataclasses import dataclass, field

from . import http as raw

LIVE, UNLINKED, ABSENT = "live", "unlinked", "absent"


@dataclass
class Entry:
    """What is known of one key.  Where an answer was missed, either of several states may be the true one."""
    states: list = field(default_factory=lambda: [(ABSENT, None)])
    doubtful_delete: bool = False  # an unanswered DELETE: should the key be unlinked, some files may be gone


class Writer(threading.Thread):
    """Works on keys of its own until the server goes away; exactly one write of each is under way at a time."""

    def __init__(self, name, port, entries, seed):
        super().__init__(name=name, daemon=True)
        self.port, self.entries, self.chance = port, entries, random.Random(seed)
        self.answered, self.complaints = 0, []

    def run(self):
        try:
            with raw.Connection(self.port, timeout=60) as connection:
                while True:
                    self.step(connection)
        except (OSError, raw.Closed):
            pass  # the server was killed: what was under way stays in doubt
        except AssertionError as problem:
            self.complaints.append(repr(problem))

    def value(self, key):
        size = self.chance.choice([1, 20, 500, 5000, 100_000, 400_000])
        stamp = f"{key} {self.chance.getrandbits(64):x} ".encode()
        return (stamp * (size // len(stamp) + 1))[:size + len(stamp)]

    def step(self, connection):
        key = self.chance.choice(list(self.entries))
        entry = self.entries[key]
        ((state, value),) = entry.states
        method = self.chance.choice({ABSENT: ["PUT", "PUT", "REPLACE"], LIVE: ["REPLACE", "REPLACE", "DELETE", "UNLINK"],
                                     UNLINKED: ["PUT", "DELETE", "RELINK", "REPLACE"]}[state])
        body = self.value(key) if method in ("PUT", "REPLACE") else None
        after = {"PUT": (LIVE, body), "REPLACE": (LIVE, body), "DELETE": (ABSENT, None), "UNLINK": (UNLINKED, value),
                 "RELINK": (LIVE, value)}[method]
        entry.states = [(state, value), after]
        if method == "DELETE":
            entry.states.append((UNLINKED, value))
            entry.doubtful_delete = True
        answer = connection.request(method, raw.encode(key), body, chunked=self.chance.random() < 0.3)
        assert answer.status in (201, 204), (method, key, state, answer)
        entry.states, entry.doubtful_delete = [after], False
        self.answered += 1


def settle(master, entries):
    """After a restart: compares the store with the ledger; what was in doubt is known afterwards.  Returns complaints."""
    complaints = []
    unlinked = set(master.keys(operation="unlinked"))
    live = set(master.keys())
    for key, entry in entries.items():
        if key in live:
            try:
                found = (LIVE, master.read(key))
            except (AssertionError, OSError, raw.Closed) as problem:
                found = (LIVE, repr(problem))
        elif key in unlinked:
            found = next((state for state in entry.states if state[0] == UNLINKED), (UNLINKED, None))
        else:
            found = (ABSENT, None)
        if found not in entry.states:
            expected = [(state, value and value[:60]) for state, value in entry.states]
            complaints.append(f"{key} is {found[0]} {found[1] and found[1][:60]!r}, not one of {expected}")
        elif found[0] == UNLINKED and entry.doubtful_delete:
            answer = master.delete(key)
            if answer.status != 204:
                complaints.append(f"{key}: an interrupted DELETE can not be done again: {answer}")
            found = (ABSENT, None)
        entry.states, entry.doubtful_delete = [found], False
    strangers = (live | unlinked) - set(entries)
    if strangers:
        complaints.append(f"keys that nobody wrote: {sorted(strangers)[:5]}")
    return complaints
