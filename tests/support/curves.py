"""Curves as tests look at them: every point."""

from collections.abc import Collection

from sqlalchemy.orm import Session

from jobs.log.curves import rows_after


def series(session: Session, job_id: str, names: Collection[str] | None = None) -> dict[str, list[tuple[int, float]]]:
    """(step, value) by name, in the order of steps."""
    found: dict[str, list[tuple[int, float]]] = {}
    after = None
    while rows := rows_after(session, job_id, names, after, 1_000):
        after = rows[-1][:2]
        for name, step, value in rows:
            found.setdefault(name, []).append((step, value))
    return found
