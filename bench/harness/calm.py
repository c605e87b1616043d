"""Rounds in which the machine was left alone.

The owner of a virtual machine runs others on the same cores, and stops it for milliseconds at a time:
the kernel counts that as steal (proc(5), /proc/stat).  Whoever times single requests then times these stops.
"""

from dataclasses import dataclass

STEAL_MAX = 0.025  # of the time of all cores: with more of it a round does not count
TRIES = 3          # so many rounds for one that counts, at most


@dataclass
class Calm:
    results: list  # of the rounds that count
    left_out: int  # rounds
    worst: float   # steal in those that count, at most: a share of the time of all cores


def cpu_ticks():
    """Stolen, and all."""
    with open("/proc/stat") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    return ticks[7], sum(ticks)


def calm_rounds(rounds, measure):
    """As many results of measure(), each of a round that was left alone, or, where there are
    too few of those, of the rounds that were disturbed least."""
    tried = []
    for _ in range(TRIES * rounds):
        stolen, ticks = cpu_ticks()
        result = measure()
        stolen, ticks = (after - before for after, before in zip(cpu_ticks(), (stolen, ticks)))
        tried.append((stolen / max(1, ticks), len(tried), result))
        if sum(share <= STEAL_MAX for share, _, _ in tried) == rounds:
            break
    kept = sorted(tried)[:rounds]
    return Calm([result for _, _, result in kept], len(tried) - len(kept), kept[-1][0])
