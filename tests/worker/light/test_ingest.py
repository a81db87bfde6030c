"""Light work in a worker: uploaded photos become a data set beside a distillation, and in spite of whatever happens."""

import hashlib
import io
import zipfile
from collections.abc import Callable

import psutil
import pytest

from jobs.files import layout, uploads
from jobs.files.uploads import Announced, Upload
from jobs.log.events import events_after
from jobs.queue import datasets, requests
from jobs.queue.submit import add_light_job
from jobs.settings import Settings
from jobs.states import State
from kd.data import packed_facts
from kd.spec.ingest import Ingest, IngestSpec
from tests.kd.data.ingest.photos import encoded, photo
from tests.support.databases import ON_ONE_DATABASE
from tests.support.waiting import HANG_SECONDS, wait_until
from worker.child import HELPER, Child, Order

NAME = "packed/pets"
UNDERSTOOD = '"event":"noted"'
EXAMINING = '"phase":"examining"'


def pets() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for place, kind in enumerate(("cat", "dog")):
            for number in range(5):
                archive.writestr(f"{kind}/{number}.jpg", encoded(photo(10 * place + number), "JPEG"))
    return file.getvalue()


@pytest.fixture
def bring(settings: Settings) -> Callable[..., Upload]:
    def bring(content: bytes, name: str = "pets.zip") -> Upload:
        said = Announced(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        upload, _ = uploads.announce(settings.data_dir, said)
        uploads.append(settings.data_dir, upload, 0, io.BytesIO(content), len(content))
        return upload

    return bring


@pytest.fixture
def ingest(db) -> Callable[..., str]:
    def ingest(upload: Upload, name: str = NAME, **wanted: object) -> str:
        with db.begin() as session:
            return add_light_job(session, IngestSpec(config=Ingest(name=name, upload=upload.id, **wanted))).id

    return ingest


def names(settings: Settings) -> tuple[str, ...]:
    return packed_facts.names(settings.data_dir / layout.DATASETS)


def test_photos_become_a_data_set_and_the_events_say_what_was_understood(helped, bring, ingest, wait_for, settings, db):
    upload = bring(pets())

    job = wait_for(ingest(upload, size=16))

    assert (job.state, job.result["metrics"]) == (
        State.SUCCEEDED,
        {"images": 10, "train": 10, "validation": 0, "test": 0, "classes": 2},
    )
    assert packed_facts.read(settings.data_dir / layout.DATASETS, NAME).shape == (3, 16, 16)
    with db.read() as session:
        said = [event.data["message"] for event in events_after(session, job.id) if event.type == "noted"]
    assert said[0] == "pets.zip is understood as class/image: 2 classes, 10 train."
    assert said[-1] == "The examination has found nothing wrong."
    assert job.result["seconds"].keys() == {"ingesting", "examining"}
    assert datasets.report(settings.data_dir, NAME, "report.html").read_text().startswith("<!doctype html>")
    wait_until(lambda: not uploads.received(settings.data_dir, upload), "what was used up is gone")


@ON_ONE_DATABASE
def test_what_is_no_data_set_fails_in_words_and_the_file_can_be_tried_again(helped, bring, ingest, wait_for, settings):
    upload = bring(pets())

    wrong = wait_for(ingest(upload, classes=("cat", "fox")))
    right = wait_for(ingest(upload, classes=("dog", "cat")))

    assert (wrong.state, wrong.error["code"]) == (State.FAILED, "bad_data")
    assert wrong.error["message"].startswith("pets.zip makes no data set: its classes are not those that were given")
    assert "suggested_patch" not in wrong.error
    assert right.state is State.SUCCEEDED
    assert packed_facts.read(settings.data_dir / layout.DATASETS, NAME).classes == ("dog", "cat")


@ON_ONE_DATABASE
def test_a_file_that_was_damaged_on_its_way_is_not_read_and_can_be_brought_again(
    helped, bring, ingest, wait_for, settings
):
    upload = bring(pets())
    damaged = bytearray(pets())
    damaged[100] ^= 1
    uploads.path(settings.data_dir, upload).write_bytes(damaged)

    job = wait_for(ingest(upload))

    assert (
        job.error["message"]
        == f"The data set {NAME} cannot be used: pets.zip is not the file that was announced; bring it again"
    )
    assert not uploads.received(settings.data_dir, upload)
    assert not names(settings)
    assert wait_for(ingest(bring(pets()))).state is State.SUCCEEDED


@ON_ONE_DATABASE
def test_a_helper_that_is_killed_in_the_middle_is_gone_on_with(
    helped, bring, ingest, wait_for, settings, stage, db, monkeypatch
):
    monkeypatch.setenv("IMAGES_ARE_KEPT_EVERY_SECONDS", "0")
    stage.close_gate(EXAMINING)
    job_id = ingest(bring(pets()), size=16)
    (held,) = wait_until(stage.held, "a helper has unpacked all that it has")
    wait_for(job_id, lambda job: job.stalls == 0)  # it has got further than anybody before, and that is safe
    psutil.Process(held).kill()
    stage.open_gate(EXAMINING)

    job = wait_for(job_id)

    assert (job.state, job.attempt) == (State.SUCCEEDED, 2)
    assert job.safe_fraction == pytest.approx(0.9)
    assert [each.name for each in (settings.data_dir / layout.DATASETS / NAME).parent.iterdir()] == ["pets"]


@ON_ONE_DATABASE
def test_one_that_is_killed_before_it_has_unpacked_anything_begins_anew(
    helped, bring, ingest, wait_for, settings, stage
):
    stage.close_gate(UNDERSTOOD)
    job_id = ingest(bring(pets()))
    (held,) = wait_until(stage.held, "a helper has understood what it has")
    psutil.Process(held).kill()
    stage.open_gate(UNDERSTOOD)

    job = wait_for(job_id)

    assert (job.state, job.attempt) == (State.SUCCEEDED, 2)
    assert names(settings) == (NAME,)


@ON_ONE_DATABASE
def test_one_that_is_killed_when_all_is_done_finds_its_own_work_and_not_anothers(
    helped, bring, ingest, wait_for, settings, stage
):
    stage.set_trap("before its last word")

    job = wait_for(ingest(bring(pets()), size=16))
    other = wait_for(ingest(bring(pets()), size=8))

    assert stage.trap_has_sprung
    assert (job.state, job.attempt) == (State.SUCCEEDED, 2)
    assert (other.state, "exists already" in other.error["message"]) == (State.FAILED, True)
    packed = settings.data_dir / layout.DATASETS / NAME
    assert [each.name for each in packed.parent.iterdir()] == [packed.name], "no draft is left"


@ON_ONE_DATABASE
@pytest.mark.parametrize("what", ["cancel", "leave"])
def test_one_that_is_in_the_way_ends_and_leaves_nothing(
    helped, bring, ingest, wait_for, settings, stage, db, monkeypatch, what
):
    stage.close_gate(UNDERSTOOD)
    upload = bring(pets())
    job_id = ingest(upload)
    wait_until(stage.held, "a helper has understood what it has")

    if what == "cancel":
        with db.begin() as session:
            requests.cancel(session, job_id)
        job = wait_for(job_id)
    else:
        monkeypatch.setattr("worker.attempt.STOP_SECONDS", 0.1)  # it cannot hear that it is asked to
        helped.stopping.set()
        job = wait_for(job_id, lambda job: job.state is State.QUEUED)

    assert job.state is (State.CANCELLED if what == "cancel" else State.QUEUED)
    assert not names(settings)
    assert uploads.received(settings.data_dir, upload) == upload.said.size, "it can be tried again"


def test_a_helper_that_is_asked_to_stop_says_so_and_has_packed_nothing(tmp_path):
    settings = Settings(data_dir=tmp_path / "data")
    said = Announced(name="pets.zip", size=len(pets()), sha256=hashlib.sha256(pets()).hexdigest())
    upload, _ = uploads.announce(settings.data_dir, said)
    uploads.append(settings.data_dir, upload, 0, io.BytesIO(pets()), said.size)
    spec = IngestSpec(config=Ingest(name=NAME, upload=upload.id)).model_dump(mode="json")
    folders = {"data_dir": settings.data_dir, "data_folder": settings.data_dir / layout.DATASETS}
    child = Child(HELPER)

    child.ask_to_stop()  # which is heard before the order
    child.start(
        Order(spec, **{name: str(path) for name, path in folders.items()}, out="", resume=None, label_folder="",
              log=str(tmp_path / "log"))
    )  # fmt: skip
    events = [type(event).__name__ for event in iter(lambda: child.next_event(HANG_SECONDS), None)]
    child.kill()

    assert events == ["Ready", "PhaseStarted", "Noted", "Noted", "Stopped"]
    assert not names(settings)
