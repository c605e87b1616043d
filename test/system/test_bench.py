"""bench/harness: which rounds count, and what makes a row pass.  How fast anything is, no test says."""
import json
import sys

import pytest

from mkvtest.cluster import ROOT

sys.path.insert(0, str(ROOT / "bench"))

from harness import calm, load, table  # noqa: E402
from harness.table import Line  # noqa: E402


def rounds_with(monkeypatch, steals, rounds):
    """calm_rounds(), where round n is measured while steals[n] of 1,000 ticks are stolen; its result is n."""
    ticks, measured = [0, 0], []

    def measure():
        ticks[0] += steals[len(measured)]
        ticks[1] += 1000
        measured.append(len(measured))
        return measured[-1]

    monkeypatch.setattr(calm, "cpu_ticks", lambda: tuple(ticks))
    return calm.calm_rounds(rounds, measure), len(measured)


def test_calm_rounds_all_count(monkeypatch):
    got, measured = rounds_with(monkeypatch, [0, 25, 10], 3)
    assert (sorted(got.results), got.left_out, got.worst, measured) == ([0, 1, 2], 0, 0.025, 3)


def test_calm_rounds_leave_out_the_disturbed(monkeypatch):
    got, measured = rounds_with(monkeypatch, [26, 0, 300, 1, 2], 3)
    assert (sorted(got.results), got.left_out, got.worst, measured) == ([1, 3, 4], 2, 0.002, 5)


def test_calm_rounds_take_the_least_disturbed_where_too_few_are_calm(monkeypatch):
    got, measured = rounds_with(monkeypatch, [90, 0, 80, 70, 40, 60], 2)
    assert (sorted(got.results), got.left_out, got.worst, measured) == ([1, 4], 4, 0.04, 6)


def test_cpu_ticks_are_the_kernels():
    stolen, everything = calm.cpu_ticks()
    assert 0 <= stolen < everything


def test_alternate_goes_round():
    calls = []
    results = load.alternate(2, lambda: calls.append("a") or len(calls), lambda: calls.append("b") or len(calls))
    assert (calls, results) == (["a", "b", "a", "b"], [[1, 3], [2, 4]])


@pytest.mark.parametrize("line, ok, target", [
    (Line("r", "m", 9.5).against(10, "y").ratio_at_least(0.95), True, "≥ 0.95 ×"),
    (Line("r", "m", 9.4).against(10, "y").ratio_at_least(0.95), False, "≥ 0.95 ×"),
    (Line("r", "m", 11).against(10, "y").ratio_at_most(1.1), True, "≤ 1.1 ×"),
    (Line("r", "m", 12).against(10, "y").ratio_at_most(1.1), False, "≤ 1.1 ×"),
    (Line("r", "m", 12).against(0, "y").ratio_at_most(1.1), False, "≤ 1.1 ×"),
    (Line("r", "m", 130, "µs").at_most(130), True, "≤ 130 µs"),
    (Line("r", "m", 131, "µs").at_most(130), False, "≤ 130 µs"),
    (Line("r", "m", 1e6, "/s").at_least(1e6), True, "≥ 1,000,000 /s"),
    (Line("r", "m", 999_999, "/s").at_least(1e6), False, "≥ 1,000,000 /s"),
    (Line("r", "m", 1), None, "reported"),
])
def test_what_passes(line, ok, target):
    assert (line.ok, line.target) == (ok, target)


def test_the_table_is_markdown(capsys):
    table.print_table([Line("cycle", "CPU", 1234.5, "µs").against(0.5, "nginx").ratio_at_most(3),
                       Line("list", "keys", 12)])
    head, rule, first, second = capsys.readouterr().out.splitlines()
    assert len({len(head), len(rule), len(first), len(second)}) == 1
    assert [cell.strip() for cell in first.split("|")[1:-1]] == \
        ["cycle", "CPU", "1,234 µs", "0.5 µs (nginx)", "2469.00", "≤ 3 ×", "**FAIL**"]
    assert [cell.strip() for cell in second.split("|")[1:-1]] == ["list", "keys", "12", "", "", "reported", ""]


def test_json_names_every_line(capsys):
    table.print_json({"cores": 2}, [Line("list", "keys", 12)], ["cycle"])
    told = json.loads(capsys.readouterr().out)
    assert (told["machine"], told["failed"]) == ({"cores": 2}, ["cycle"])
    assert (told["lines"][0]["row"], told["lines"][0]["ours"]) == ("list", 12)


def test_a_tool_that_fails_is_not_slow():
    with pytest.raises(load.BenchError, match="sh: no such volume"):
        load.run(["sh", "-c", "echo no such volume >&2; exit 3"], 1)
