"""Lines of the result, and how they are printed."""

import datetime
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional

COLUMNS = ("row", "measured", "ours", "yardstick", "ratio", "target", "")


@dataclass
class Line:
    """One figure.  ok: None where there is no target to miss."""
    row: str
    measured: str
    ours: float
    unit: str = ""
    yardstick: Optional[float] = None
    beside: str = ""             # what the yardstick is
    ratio: Optional[float] = None
    target: str = "reported"
    ok: Optional[bool] = None

    def against(self, yardstick, beside):
        self.yardstick, self.beside = yardstick, beside
        self.ratio = self.ours / yardstick if yardstick else None
        return self

    def ratio_at_least(self, limit):
        self.target = f"≥ {limit:g} ×"
        self.ok = self.ratio is not None and self.ratio >= limit
        return self

    def ratio_at_most(self, limit):
        self.target = f"≤ {limit:g} ×"
        self.ok = self.ratio is not None and self.ratio <= limit
        return self

    def at_least(self, limit):
        self.target = f"≥ {number(limit)} {self.unit}".rstrip()
        self.ok = self.ours >= limit
        return self

    def at_most(self, limit):
        self.target = f"≤ {number(limit)} {self.unit}".rstrip()
        self.ok = self.ours <= limit
        return self


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def cells(line):
    unit = f" {line.unit}" if line.unit else ""
    yardstick = "" if line.yardstick is None else f"{number(line.yardstick)}{unit} ({line.beside})"
    return (line.row, line.measured, number(line.ours) + unit, yardstick,
            "" if line.ratio is None else f"{line.ratio:.2f}", line.target,
            {None: "", True: "pass", False: "**FAIL**"}[line.ok])


def print_table(lines):
    """Markdown, and columns that line up."""
    rows = [COLUMNS] + [cells(line) for line in lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    rows.insert(1, tuple("-" * width for width in widths))
    for row in rows:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")


def machine(settings, where):
    """Where and how the figures were taken."""
    cpu = next((line.partition(":")[2].strip()
                for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    return {"date": datetime.date.today().isoformat(), "cpu": cpu, "cores": os.cpu_count(),
            "kernel": platform.release(), "files_on": where[1], "load_before": os.getloadavg()[0],
            **vars(settings)}


def print_machine(facts):
    print(f"{facts['date']}, {facts['cores']} × {facts['cpu']}, Linux {facts['kernel']}, "
          f"files on {facts['files_on']}; medians of {facts['rounds']}, "
          f"of {facts['few']} for big values, {facts['seconds']} s each.")
    if facts["quick"]:
        print("QUICK: too little of everything for a verdict.")
    if facts["files_on"] == "tmpfs":
        print("tmpfs keeps nothing: commits cost less there than on a disk (--dir).")
    if facts["load_before"] > 0.5:
        print(f"The machine was busy (load {facts['load_before']:.1f}): more noise, worse figures.")
    print()


def print_json(facts, lines, failed):
    print(json.dumps({"machine": facts, "lines": [asdict(line) for line in lines],
                      "failed": failed}, indent=1))
