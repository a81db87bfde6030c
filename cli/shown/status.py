"""Where a job stands, in words: what a queued one waits for, how a paused one goes on, what a failed one suggests."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cli.shown import numbers

Job = Mapping[str, Any]


def idle_reason(job: Job) -> str | None:
    """Why nothing happens to a job, and what to do about it; None while a worker has it, or it is over."""
    if job["status"] == "paused":
        return f"paused; `kd resume {job['id']}` goes on from its last checkpoint"
    if job["status"] == "queued":
        return f"waiting: {queue_reason(job)}"
    return None


def queue_reason(job: Job) -> str:
    """At which place a queued job is, and what for: `place 3, workers that could run it are busy …`."""
    why = job.get("waiting") or {}
    message = why.get("message") or "for a worker; `kd work` starts one"
    return f"place {why['position']}, {message[:1].lower()}{message[1:]}" if why.get("position") else message


def place(job: Job) -> str:
    """The same, short enough for a table."""
    why = job.get("waiting") or {}
    parts = [f"place {why['position']}" if why.get("position") else "", (why.get("reason") or "").replace("_", " ")]
    return ", ".join(part for part in parts if part)


def lost_attempt(event: Mapping[str, Any]) -> str | None:
    """Why an attempt came to nothing, where an event says so; when the next one begins is what the job waits for."""
    error = event["data"].get("error") if event["data"].get("state") == "queued" else None
    return f"Attempt {event['attempt']} ended: {error['message']}" if error else None


def pending_request(job: Job) -> str:
    """What somebody has asked of a job and its worker has not yet done."""
    if job["is_terminal"]:
        return ""
    if job["cancel_requested_at"]:
        return ", to be cancelled"
    return ", to be paused" if job.get("pause_requested_at") and job["status"] == "running" else ""


def limits(job: Job) -> str:
    """`12:00:00 of training, 0:30:00 in the queue`; none is no limit."""
    given = job.get("limits") or {}
    named = (("run", "of training"), ("queue", "in the queue"), ("stall", "without progress"))
    return ", ".join(
        f"{numbers.clock(given[f'max_{which}_seconds'])} {where}"
        for which, where in named
        if given.get(f"max_{which}_seconds") is not None
    )


def retry_advice(job: Job) -> str | None:
    """The command that tries a failed job again, if that may help. (Light work is asked for anew.)"""
    error = job["error"] or {}
    if patch := error.get("suggested_patch"):
        fields = ", ".join(f"{path}={value}" for path, value in changes(patch))
        return f"`kd retry {job['id']} --suggested` tries again with {fields}."
    return f"`kd retry {job['id']}` tries again." if error.get("retryable") else None


def changes(patch: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """The fields that a merge patch changes, as `--set` would have them."""
    for name, value in patch.items():
        if isinstance(value, Mapping):
            yield from changes(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", json.dumps(value) if not isinstance(value, str) else value
