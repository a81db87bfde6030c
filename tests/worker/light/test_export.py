"""Light work in a worker: a student becomes a file beside a distillation, or one reads why not."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from jobs.files import find, layout, store
from jobs.files.retention import NewFile
from jobs.queue import exports, leases, recording
from jobs.states import State
from jobs.tables import FileKind
from kd.data.dataset import load_dataset
from kd.models.build import build
from kd.models.safetensors.facts import Facts
from kd.models.weights import copy_of, save_weights
from kd.spec.export import Export
from tests.support.databases import ON_ONE_DATABASE


@pytest.fixture
def finished(tiny, submit, db, TTL, settings) -> Callable[..., str]:
    """A job that has a student, as far as rows and files can tell; ask before there is a worker for distillations."""

    def finished(*, damaged: bool = False) -> str:
        job_id = submit(tiny(student={"arch": "mlp"}))
        dataset = load_dataset("digits", settings.data_dir / layout.DATASETS, 0.1)
        torch.manual_seed(0)
        facts = Facts(arch="mlp", classes=dataset.classes, shape=dataset.shape, mean=dataset.mean, std=dataset.std)
        with db.begin() as session:
            claim = leases.claim(session, worker="nobody", ttl=TTL)
        folder = layout.attempt_folder(settings.data_dir, job_id, claim.attempt)
        file = (
            folder
            / save_weights(copy_of(build("mlp", 10, dataset.shape)), facts, folder, Path("student.safetensors")).path
        )
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        if damaged:
            content = bytearray(file.read_bytes())
            content[-1] ^= 1
            file.write_bytes(content)
        path = str(file.relative_to(settings.data_dir))
        student = NewFile(FileKind.STUDENT, file.name, path, file.stat().st_size, sha256)
        with db.begin() as session:
            recording.publish(
                session, claim, phase="student", step=1, epoch=1, best=True, metrics={}, fraction=1, files=[student]
            )
            best = find.checkpoint(session, job_id, "best").id
            result = {"metrics": {}, "seconds": {}, "best_checkpoint": best, "verdict": None}
            leases.release(session, claim, State.SUCCEEDED, result=result)
        return job_id

    return finished


def test_a_student_becomes_a_file_that_was_held_against_it(finished, helped, wait_for, settings, db):
    made, _ = exports.export(db, settings, finished(), Export())

    job = wait_for(made.id)

    assert job.state is State.SUCCEEDED, job.error
    assert job.result["metrics"]["agreement"] == 1
    with db.read() as session:
        names = [file.name for file in find.artifacts(session, job.id)]
        file = find.artifact(session, job.id, "student.onnx")
    assert names == ["student-onnx.zip", "student.onnx", "verify.json"]
    assert store.open_file(settings.data_dir, file.path)[1] == job.result["metrics"]["bytes"]


@ON_ONE_DATABASE
def test_one_whose_weights_have_changed_is_not_made(finished, helped, wait_for, settings, db):
    made, _ = exports.export(db, settings, finished(damaged=True), Export())

    job = wait_for(made.id)

    assert job.state is State.FAILED
    assert "its content has changed since it was written" in job.error["message"]
    assert not job.error["retryable"]
    with db.read() as session:
        assert find.artifacts(session, job.id) == []
