"""Light work in a worker: a teacher that somebody has brought is evaluated beside a distillation."""

import io
from collections.abc import Callable

import psutil
import pytest

from jobs.files import find, layout, store
from jobs.log.events import events_after
from jobs.queue import evaluations, requests
from jobs.states import State
from kd.models.preprocess.said import Preprocess
from kd.spec.evaluate import Evaluate
from kd.teachers import uploads
from kd.teachers.uploads import Said
from tests.support.databases import ON_ONE_DATABASE
from tests.support.models.onnx_files import linear
from tests.support.waiting import wait_until

BROUGHT = '"code":"teacher_brought"'


@pytest.fixture
def evaluate(db, settings) -> Callable[..., str]:
    def evaluate(classes: int = 10) -> str:
        content = io.BytesIO(linear(classes=classes).SerializeToString())
        teacher, _ = uploads.add(
            settings.data_dir / layout.TEACHERS, content, Said(name="mine", preprocess=Preprocess())
        )
        return evaluations.evaluate(db, settings, teacher.id, Evaluate(dataset="digits"))[0].id

    return evaluate


def test_an_evaluation_leaves_its_numbers_and_a_report(helped, evaluate, wait_for, settings, db):
    job = wait_for(evaluate())

    assert job.state is State.SUCCEEDED, job.error
    assert job.result["metrics"]["test.images"] == 359
    assert 0 <= job.result["metrics"]["teacher.test.top1"] < 0.5, "it was not trained"
    with db.read() as session:
        said = [event.type for event in events_after(session, job.id)]
        page = find.report(session, job.id, "report.html")
    assert said.count("evaluated") == 2
    assert store.open_file(settings.data_dir, page.path)[0].read_text("utf-8").startswith("<!doctype html>")


@ON_ONE_DATABASE
def test_one_that_cannot_be_evaluated_fails_in_words(helped, evaluate, wait_for):
    job = wait_for(evaluate(classes=7))

    assert (job.state, job.error["code"]) == (State.FAILED, "bad_teacher")
    assert "knows 7 classes" in job.error["message"]
    assert job.error["hint"].startswith("Bring the teacher again")


@ON_ONE_DATABASE
def test_a_helper_that_is_killed_in_the_middle_is_begun_anew(helped, evaluate, wait_for, stage):
    stage.close_gate(BROUGHT)
    job_id = evaluate()
    (held,) = wait_until(stage.held, "a helper has looked at the teacher")
    psutil.Process(held).kill()
    stage.open_gate(BROUGHT)

    job = wait_for(job_id)

    assert (job.state, job.attempt) == (State.SUCCEEDED, 2)


@ON_ONE_DATABASE
def test_one_that_is_cancelled_leaves_nothing(helped, evaluate, wait_for, stage, db):
    stage.close_gate(BROUGHT)
    job_id = evaluate()
    wait_until(stage.held, "a helper has looked at the teacher")

    with db.begin() as session:
        requests.cancel(session, job_id)
    job = wait_for(job_id)

    assert job.state is State.CANCELLED
    with db.read() as session:
        assert find.artifacts(session, job_id) == []
