"""What a worker writes down while its trainer runs: events, points of curves, checkpoints, files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import case, insert, select, update
from sqlalchemy.orm import Session

from jobs import ids
from jobs.database import clock
from jobs.files import retention
from jobs.files.retention import NewFile
from jobs.log.curves import cut_back, write
from jobs.log.events import NewEvent, append
from jobs.queue import fence
from jobs.queue.fence import Claim
from jobs.tables import Checkpoint, File, FileKind, Job


@dataclass(frozen=True)
class Published:
    checkpoint_id: str
    superseded: list[str]
    """Paths to delete after the commit."""


def record(
    session: Session,
    claim: Claim,
    *,
    events: Sequence[Mapping[str, Any]] = (),
    metrics: Iterable[tuple[str, int, float]] = (),
    phase: str | None = None,
    progress: Mapping[str, Any] | None = None,
    latest_metrics: Mapping[str, float] | None = None,
    safe_fraction: float | None = None,
    messages: range | None = None,
    now: datetime | None = None,
) -> None:
    """Write down what the trainer said: events ({"type", "data"}), points of curves, where it is.

    `safe_fraction`: so much of the run is kept elsewhere than in a checkpoint, and the next attempt will go on from
    there. It counts as a checkpoint's does.
    `messages` says which of its messages these are, here as in `publish` and `publish_file`; see `fence.change`.
    """
    given = {"phase": phase, "progress": progress, "latest_metrics": latest_metrics}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if safe_fraction is not None:
        changes |= _got_to(safe_fraction)
    said = [NewEvent(event["type"], dict(event["data"])) for event in events]
    counted = {"events_seq": Job.events_seq + len(said), "updated_at": clock.now_or(now)}
    row = fence.change(session, claim, changes | counted, messages)
    append(session, row, said)
    write(session, row, metrics)


def expect(session: Session, claim: Claim, estimate: Mapping[str, Any], *, now: datetime | None = None) -> None:
    """Write down what the job will take, as far as one can know."""
    fence.change(session, claim, {"estimate": dict(estimate), "updated_at": clock.now_or(now)})


def publish(
    session: Session,
    claim: Claim,
    *,
    phase: str,
    step: int,
    epoch: int,
    best: bool,
    metrics: Mapping[str, float],
    fraction: float,
    files: Sequence[NewFile],
    messages: range | None = None,
    now: datetime | None = None,
) -> Published:
    """Make a checkpoint visible, with which the share `fraction` of the run is safe. More than ever before ends the row
    of stalls.

    What is kept of those before is for `jobs.files.retention` to say.
    """
    assert files, "a checkpoint without a file is a metric"
    retention.check(files)
    checkpoint_id = ids.new("ckpt")
    facts = {"phase": phase, "step": step, "epoch": epoch, "best": best, "metrics": dict(metrics)}
    row = fence.change(
        session,
        claim,
        {
            "checkpoint_step": case((Job.checkpoint_step < step, step), else_=Job.checkpoint_step),
            "events_seq": Job.events_seq + 1,
            "updated_at": clock.now_or(now),
        }
        | _got_to(fraction),
        messages,
    )
    append(session, row, [NewEvent("checkpoint", {"checkpoint_id": checkpoint_id, **facts})])

    if best:
        session.execute(
            update(Checkpoint)
            .where(Checkpoint.job_id == claim.job_id, Checkpoint.best)
            .values(best=False)
            .execution_options(synchronize_session=False)
        )
    session.execute(
        insert(Checkpoint),
        [
            {
                "id": checkpoint_id,
                "job_id": claim.job_id,
                "attempt": claim.attempt,
                "created_at": row.updated_at,
                **facts,
            }
        ],
    )
    retention.keep(session, claim.job_id, files, at=row.updated_at, checkpoint_id=checkpoint_id)
    return Published(checkpoint_id, retention.forget_superseded(session, claim.job_id))


def publish_file(
    session: Session, claim: Claim, file: NewFile, *, messages: range | None = None, now: datetime | None = None
) -> list[str]:
    """Make an artifact visible; one of the same name is replaced. Returns paths to delete after the commit."""
    retention.check([file])
    row = fence.change(session, claim, {"updated_at": clock.now_or(now)}, messages)
    same_name = select(File).where(File.job_id == claim.job_id, File.kind == FileKind.ARTIFACT, File.name == file.name)
    replaced = retention.forget(session, claim.job_id, list(session.execute(same_name).scalars()))
    retention.keep(session, claim.job_id, [file], at=row.updated_at, checkpoint_id=None)
    return [path for path in replaced if path != file.path]


def discard_resume(session: Session, claim: Claim, *, now: datetime | None = None) -> Claim:
    """The claim's resume file is damaged: forget it and go on from the one before, or from the start.

    What was safe is lost, so progress counts anew. The caller deletes the old claim's `resume` after the commit.
    """
    damaged = claim.resume and claim.resume.path
    fence.change(session, claim, {"updated_at": clock.now_or(now)})
    resumes = retention.resumes(session, claim.job_id)
    retention.forget(session, claim.job_id, [file for file, _ in resumes if file.path == damaged])
    resume, step = retention.newest_resume(session, claim.job_id)
    fence.change(session, claim, {"checkpoint_step": step, "safe_fraction": -1.0})
    cut_back(session, claim.job_id, step)
    return replace(claim, resume=resume, checkpoint_step=step)


def _got_to(fraction: float) -> dict[str, Any]:
    """So much of the run is safe. Only more than ever before is progress: a later step may say nothing new, and whoever
    does the same part again and again gets nowhere."""
    further = Job.safe_fraction < fraction
    return {
        "safe_fraction": case((further, fraction), else_=Job.safe_fraction),
        "stalls": case((further, 0), else_=Job.stalls),
    }
