"""Light work in a worker: a teacher that somebody has brought is evaluated beside a distillation."""

import io
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from jobs.files import find, layout, store
from jobs.kinds import LIGHT_MODES
from jobs.log.events import events_after
from jobs.queue import evaluations, requests
from jobs.states import State
from kd.models.preprocess.said import Preprocess
from kd.spec import TeacherUploaded
from kd.spec.evaluate import Evaluate, EvaluateConfig, EvaluateSpec
from kd.teachers import uploads
from kd.teachers.uploads import Said
from tests.support.databases import ON_ONE_DATABASE
from tests.support.models.onnx_files import linear
from tests.support.waiting import HANG_SECONDS, wait_until
from worker.child import HELPER, Child, Order
from worker.light.helper import MODES

ROOT = Path(__file__).parents[3]
SHOWN = '"event":"step"'
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
    assert not job.error["retryable"], "it is asked for anew"


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
def test_beside_a_distillation_it_takes_one_core_and_no_gpu(helped, evaluate, wait_for, stage):
    stage.close_gate(SHOWN)
    job_id = evaluate()
    (held,) = wait_until(stage.held, "a helper has shown it some images")
    (session,) = psutil.Process(held).children()
    environment = session.environ()
    stage.open_gate(SHOWN)

    assert (environment["CUDA_VISIBLE_DEVICES"], environment["OMP_NUM_THREADS"]) == ("", "1")
    assert wait_for(job_id).state is State.SUCCEEDED


def test_a_helper_that_is_asked_to_stop_says_so_and_leaves_no_report(tmp_path):
    content = io.BytesIO(linear().SerializeToString())
    teacher, _ = uploads.add(tmp_path / "teachers", content, Said(name="mine", preprocess=Preprocess()))
    config = EvaluateConfig(dataset="digits", teacher=TeacherUploaded(upload=teacher.id))
    spec = EvaluateSpec(config=config).model_dump(mode="json")
    child = Child(HELPER)

    child.ask_to_stop()  # which is heard before the order
    child.start(
        Order(
            spec,
            out=str(tmp_path / "out"),
            resume=None,
            data_folder=str(tmp_path),
            label_folder="",
            log=str(tmp_path / "log"),
            teacher_files=[(str(uploads.manifest(tmp_path / "teachers", teacher.id)), teacher.sha256)],
        )
    )
    events = [type(event).__name__ for event in iter(lambda: child.next_event(HANG_SECONDS), None)]
    child.kill()

    assert events == ["Ready", "Started", "Stopped"]
    assert not (tmp_path / "out").exists()


def test_every_mode_of_light_work_has_a_module_and_is_asked_for_somewhere():
    assert set(MODES) == set(LIGHT_MODES)
    for module in MODES.values():
        assert (ROOT / f"{module.replace('.', '/')}.py").exists()


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
