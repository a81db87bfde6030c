"""What a retry is: the submission of a job that has ended, once more, with what shall be other than before."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from api.http.problems import Invalid
from api.jobs.body import Retry, understand
from api.jobs.shown import Conditions
from jobs.envelope import Envelope
from jobs.errors import NotAllowed
from jobs.job import envelope_of, get_job
from jobs.kinds import Kind
from jobs.queue.submit import Submission
from jobs.states import ACTIONS, FINAL
from jobs.tables import Job
from kd.spec.faults import Fault


def draft(session: Session, *, data_dir: Path, job_id: str, retry: Retry, unchanged: Conditions) -> Submission:
    """The job's own submission with what is wished otherwise. Raises `NotAllowed` while the job has not ended."""
    unchanged.look(session, job_id)
    job = get_job(session, job_id)
    if job.state not in FINAL:
        raise NotAllowed(job_id, job.state, "retry", ACTIONS[job.state])
    if job.kind is Kind.LIGHT:
        raise Invalid([Fault("", f"{job_id} is no distillation: {_anew(job)} once more, with what shall be other")])
    envelope = envelope_of(job).model_dump() | retry.model_dump(include=set(Envelope.model_fields), exclude_unset=True)
    return replace(understand(envelope | _spec(job, retry), data_dir), parent=job_id)


def _anew(job: Job) -> str:
    """How light work is asked for."""
    if job.mode == "ingest":
        return "POST /datasets"
    config = job.resolved_spec["config"]
    if job.mode == "export":
        return f"POST /jobs/{config['model']['job']}/exports"
    return f"POST /teachers/{config['teacher']['upload']}/evaluate"


def _spec(job: Job, retry: Retry) -> dict[str, Any]:
    patched: dict[str, Any] = job.spec
    if retry.use_suggested_patch:
        suggested = (job.error or {}).get("suggested_patch")
        if suggested is None:
            raise Invalid([Fault("/use_suggested_patch", "there is none: the job's error suggests no patch")])
        patched = merge_patch(patched, suggested)
    if unknown := retry.patch.keys() - {"mode", "config"}:
        raise Invalid([Fault(f"/patch/{sorted(unknown)[0]}", "a patch has mode and config, and nothing else")])
    patched = merge_patch(patched, retry.patch)
    return {name: patched[name] for name in ("mode", "config") if name in patched}


def merge_patch(target: Any, patch: Any) -> Any:
    """The target after a JSON merge patch (RFC 7396): null removes, objects are merged, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result
