"""Lanes: what takes long is done a few at a time, and keeps nobody from a quick look."""

import threading

import anyio

from api.live.lanes import WIDTH, Lanes
from tests.support.waiting import HANG_SECONDS


def test_long_reads_go_a_few_at_a_time_and_a_quick_one_passes_them() -> None:
    begun, gate = threading.Semaphore(0), threading.Event()
    at_once: list[int] = []

    def read_long() -> None:
        at_once.append(threading.get_ident())
        begun.release()
        assert gate.wait(HANG_SECONDS)

    async def ask() -> None:
        lanes = Lanes()
        async with anyio.create_task_group() as asking:
            for _ in range(3 * WIDTH):
                asking.start_soon(lanes.read_long, read_long)
            for _ in range(WIDTH):
                assert await anyio.to_thread.run_sync(begun.acquire)
            assert await lanes.read(lambda: len(at_once)) == WIDTH
            gate.set()

    anyio.run(ask)

    assert len(at_once) == 3 * WIDTH
