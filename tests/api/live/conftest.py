"""What somebody waits for happens once they wait."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from tests.support.waiting import wait_until


@pytest.fixture
def later(app: FastAPI) -> Iterator[Callable[..., None]]:
    """Do something to the database, one after the other, once somebody waits for news."""
    threads: list[threading.Thread] = []

    def later(*acts: Callable[[Any], object], pause_seconds: float = 0.0) -> None:
        def wait_and_do() -> None:
            lookout = app.state.lookout
            wait_until(lambda: lookout.long_polls.taken + lookout.streams.taken)
            time.sleep(pause_seconds)
            for act in acts:
                with app.state.database.begin() as session:
                    act(session)

        threads.append(threading.Thread(target=wait_and_do))
        threads[-1].start()

    yield later
    for thread in threads:
        thread.join()
