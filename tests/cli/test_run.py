"""`kd run`: a run without a server, interrupted and resumed; and a job through the whole service."""

import functools
import json
import os
import signal
import subprocess
import time

import pytest
import torch
from typer.testing import CliRunner

from cli.main import app
from kd.models.weights import load_model
from tests.support.served import KD
from tests.support.waiting import HANG_SECONDS

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def spec(tmp_path):
    """A run of seconds, on real digits."""
    path = tmp_path / "spec.yaml"
    path.write_text(
        """
        mode: train
        name: small
        config:
          dataset: digits
          teacher: {arch: cnn_small, epochs: 2}
          epochs: 3
          batch_size: 128
          checkpoint_seconds: 0.1
        """
    )
    return path


def test_a_run_that_was_interrupted_goes_on_to_the_end(spec, tmp_path):
    out, data = tmp_path / "out", tmp_path / "data"
    options = ["--out", str(out), "--data", str(data)]
    many_epochs = [*KD, "run", str(spec), *options, "--set", "config.epochs=30"]
    before = {path.name for path in tmp_path.iterdir()}
    # Shells start what goes on in the background with SIGINT ignored, and so everything that it starts.
    minds_sigint = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(many_epochs, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, preexec_fn=minds_sigint)
    while not (out / "student.safetensors").exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.01)

    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=HANG_SECONDS)
    again = subprocess.run(many_epochs, env=ENVIRONMENT, capture_output=True, text=True)
    resumed = subprocess.run(
        [*KD, "run", "--resume", *options, "--json"], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )

    assert process.returncode == 130
    assert f"`kd run --resume --out {out}" in said.replace("\n", "")
    assert again.returncode == 2
    assert "holds a run already" in again.stderr
    result = json.loads(resumed.stdout)
    assert set(result["seconds"]) >= {"teacher", "student", "control"}
    assert 0.5 < result["metrics"]["student.test.top1"] <= 1
    assert load_model(out / "student.safetensors")[1].arch == "mlp"
    assert len(list(out.glob("checkpoints/*/resume.pt"))) == 2
    assert {path.name for path in tmp_path.iterdir()} - before == {"out", "data"}


def test_a_damaged_resume_file_is_passed_over_for_the_one_before(spec, tmp_path):
    torch.set_num_threads(1)
    out = tmp_path / "out"
    options = ["run", "--out", str(out), "--data", str(tmp_path / "data")]
    CliRunner().invoke(app, [*options, str(spec)], catch_exceptions=False)
    newest = max(out.glob("checkpoints/*/resume.pt"))
    newest.write_bytes(newest.read_bytes()[:1000])

    resumed = CliRunner().invoke(app, [*options, "--resume"])

    assert resumed.exit_code == 0
    assert "Trying the one before." in resumed.stdout


def test_a_job_runs_from_submit_to_download_through_the_whole_service(spec, server_with_worker, tmp_path):
    runner = CliRunner(env={"STILLHOUSE_URL": server_with_worker.url})

    watched = runner.invoke(app, ["submit", str(spec), "--watch"])
    job_id = watched.stdout.split()[0]
    downloaded = runner.invoke(app, ["download", job_id, "--to", str(tmp_path / "student.safetensors")])
    exported = runner.invoke(app, ["download", job_id, "--as", "onnx", "--to", str(tmp_path)])
    again = runner.invoke(app, ["download", job_id, "--as", "onnx", "--to", str(tmp_path / "b.zip"), "--json"])

    assert watched.exit_code == 0, watched.output
    assert "they agree on 100.00%" in " ".join(exported.stdout.split())
    assert (exported.exit_code, again.exit_code) == (0, 0), exported.output + again.output
    assert (tmp_path / f"{job_id}-student-onnx.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert "control  mlp" in watched.stdout
    assert downloaded.exit_code == 0
    assert load_model(tmp_path / "student.safetensors")[1].classes == tuple("0123456789")
