"""A minute of chaos on each deployment. Ten minutes each, with every kind of fault: `make chaos`."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # the runs in peace and the last jobs after the storm take their time on a busy machine
@pytest.mark.parametrize("deployment", ["embedded", "production"])
def test_nothing_is_lost_doubled_or_stuck_after_a_minute_of_chaos(deployment):
    chaos = [sys.executable, "-m", "tests.chaos", "--deployment", deployment, "--minutes", "1"]

    said = subprocess.run(chaos, cwd=ROOT, capture_output=True, text=True)

    assert said.returncode == 0, said.stdout + said.stderr
