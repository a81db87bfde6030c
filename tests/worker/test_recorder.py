"""What a trainer says is written once, whatever becomes of the answers to the writes."""

import contextlib
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from jobs.errors import LeaseLost
from jobs.job import get_job
from jobs.log.events import events_after
from jobs.queue import leases
from jobs.tables import File, Job
from kd.events import Event, MadeSafe, Noted, Saved, SavedFile
from worker.recorder import Recorder


@pytest.fixture
def recorder(db, forgetful, submit, tiny, tmp_path: Path) -> Recorder:
    submit(tiny())
    with db.begin() as session:
        claim = leases.claim(session, worker="w1", ttl=timedelta(seconds=30))
    assert claim is not None
    return Recorder(forgetful, claim, tmp_path, tmp_path / "jobs" / claim.job_id / f"attempt-{claim.attempt}")


def noted(number: int) -> Noted:
    return Noted(code="number", message=str(number))


def saved(step: int) -> Saved:
    resume = SavedFile(name="resume.pt", path=f"checkpoints/{step}/resume.pt", size=1, sha256="0" * 64)
    return Saved(phase="student", step=step, epoch=1, resume=resume, fraction=step / 100)


def say(recorder: Recorder, *events: Event) -> None:
    for event in events:
        recorder.hear(event)


def test_a_message_is_written_once_also_when_the_answer_to_its_commit_is_lost(db, recorder):
    say(recorder, noted(1), noted(2), saved(10), noted(3), saved(20), noted(4))
    recorder.db.lose_answers = 5  # to every write there is

    for failures in range(6):
        say(recorder, noted(5 + failures))  # it goes on talking meanwhile
        with contextlib.suppress(OperationalError):
            recorder.flush()

    job_id = recorder.claim.job_id
    with db.read() as session:
        events = [(event.type, event.data) for event in events_after(session, job_id)]
        paths = session.execute(select(File.path).where(File.job_id == job_id)).scalars().all()
    assert not recorder.has_pending
    assert [data["message"] for kind, data in events if kind == "noted"] == [str(n) for n in range(1, 11)]
    assert [data["step"] for kind, data in events if kind == "checkpoint"] == [10, 20]
    assert len(paths) == len(set(paths)) == 2


def test_labels_that_are_kept_end_the_row_of_stalls_and_are_no_checkpoint(db, recorder):
    job_id = recorder.claim.job_id
    say(recorder, noted(1))
    recorder.flush()
    with db.read() as session:
        before = get_job(session, job_id).stalls

    say(recorder, MadeSafe(count=1_000, fraction=0.1), noted(2), MadeSafe(count=2_000, fraction=0.2))
    recorder.flush()

    with db.read() as session:
        job = get_job(session, job_id)
        events = [event.type for event in events_after(session, job_id)]
    assert (before, job.stalls, job.checkpoint_step, job.safe_fraction) == (1, 0, -1, 0.2)
    assert events == ["state", "state", "claimed", "noted", "noted"], "they are too many to be told one by one"


def test_a_database_that_has_forgotten_what_it_wrote_is_not_taken_for_one_that_has_it(db, recorder):
    """Restored from a backup, say: the attempt is given up, and the job goes on from what is there."""
    say(recorder, noted(1))
    recorder.flush()
    with db.begin() as session:
        session.execute(update(Job).values(messages=0))

    say(recorder, noted(2))

    with pytest.raises(LeaseLost):
        recorder.flush()
