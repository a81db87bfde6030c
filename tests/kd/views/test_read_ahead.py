"""A thread reads a few batches ahead, tells its errors, and never outlives whoever reads."""

import gc
import subprocess
import sys
import textwrap
import time
import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from kd.views.pixels import Streamed
from kd.views.read_ahead import DEPTH
from tests.kd.views.noise import some_images
from tests.kd.views.reading import readers, shown, wanted
from tests.support.waiting import wait_until

CPU = torch.device("cpu")


def test_only_a_few_batches_are_read_ahead(streamed):
    drawn = []

    def batches() -> Iterator[Tensor]:
        for image_B in torch.arange(50).split(1):
            drawn.append(image_B)
            yield image_B

    streamed.expect(batches())

    wait_until(lambda: len(drawn) == DEPTH + 1)
    time.sleep(0.05)
    assert len(drawn) == DEPTH + 1  # of which one waits for room
    streamed.padded(torch.tensor([0]))
    wait_until(lambda: len(drawn) == DEPTH + 2)


def test_an_error_while_reading_ahead_is_told_to_whoever_asks_next_and_only_once(streamed):
    def batches() -> Iterator[Tensor]:
        yield torch.arange(2)
        raise OSError("the disk is gone")

    streamed.expect(batches())

    assert torch.equal(shown(streamed, torch.arange(2)), wanted(torch.arange(2)))
    with pytest.raises(OSError, match="the disk is gone"):
        streamed.padded(torch.arange(2, 4))
    assert torch.equal(shown(streamed, torch.arange(2)), wanted(torch.arange(2)))


@pytest.mark.parametrize("taken", [0, 3])
def test_closing_midway_ends_the_thread_and_pixels_are_still_there(streamed, taken):
    streamed.expect(torch.arange(50).split(2))
    for image_B in torch.arange(50).split(2)[:taken]:
        streamed.padded(image_B)

    streamed.close()

    assert readers() == []
    assert torch.equal(shown(streamed, torch.arange(9)), wanted(torch.arange(9)))
    streamed.close()


def test_what_is_forgotten_leaves_no_thread_behind():
    streamed = Streamed(some_images(), 2, CPU)
    streamed.expect(torch.arange(50).split(2))
    streamed.padded(torch.arange(2))
    gone = weakref.ref(streamed)

    del streamed
    gc.collect()

    assert gone() is None
    wait_until(lambda: readers() == [])


def test_a_thread_that_waits_does_not_keep_the_interpreter_from_ending():
    code = """
        import itertools, torch
        from kd.views.pixels import Streamed
        streamed = Streamed(torch.zeros(9, 3, 8, 8, dtype=torch.uint8), 1, "cpu")
        streamed.expect(itertools.repeat(torch.arange(9)))
        streamed.padded(torch.arange(9))
    """

    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)

    assert (ended.returncode, ended.stderr) == (0, "")
