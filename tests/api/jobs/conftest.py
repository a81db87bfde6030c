"""Jobs with a past, for what is done to jobs that are there."""

from typing import Any

import pytest

from jobs.states import State


@pytest.fixture
def ended(submit: Any, worker: Any) -> Any:
    """A job that has failed."""

    def ended(state: State = State.FAILED, **envelope: Any) -> dict[str, Any]:
        job = submit(**envelope)
        worker.release(worker.claim(job), state)
        return dict(job)

    return ended
