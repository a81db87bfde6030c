"""The examples run as their first lines say. (`examples/demo.py` is `make demo`.)"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kd.models.weights import read_facts

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_own_photos_and_a_teacher_of_timm_become_two_students(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    ran = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "own_photos.py")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "photos.zip is understood as split/class/image: 8 classes, 640 train, 320 test" in ran.stdout
    for mode in ("train", "guide"):
        facts = read_facts(tmp_path / "own-photos-output" / f"{mode}.safetensors")
        assert (facts.arch, len(facts.classes), facts.shape) == ("cnn_small", 8, (3, 48, 48))
