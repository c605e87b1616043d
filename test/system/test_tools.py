"""The commands around the programs."""
import subprocess

import pytest

from mkvtest.cluster import ROOT


def test_check_layers_can_fail():
    done = subprocess.run([ROOT / "test" / "check-layers", "--self-test"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_quickstart():
    """Builds, starts everything, stores, reads and deletes a value, stops everything."""
    done = subprocess.run([ROOT / "quickstart", "--check"], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stored, found, listed and deleted" in done.stdout
