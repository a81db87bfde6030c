"""Images are the same wherever they are kept: resident or streamed, announced or not."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kd.views.pixels import Resident, Streamed
from tests.kd.views.noise import some_images
from tests.kd.views.reading import readers, shown, wanted
from tests.support.waiting import wait_until

CPU = torch.device("cpu")
LAYOUTS = ["by plane", "by pixel", "some rows", "one channel"]


@pytest.fixture(params=LAYOUTS)
def source(request) -> tuple[Tensor, Tensor | None]:
    """Images as they lie in memory or in a file, and which of them are meant."""
    images = some_images(channels=1 if request.param == "one channel" else 3)
    if request.param == "by pixel":
        return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), None
    return images, torch.arange(1, 50, 2) if request.param == "some rows" else None


@pytest.mark.parametrize("padding", [0, 2])
def test_every_image_is_there_with_zeros_around_it(source, padding):
    images, rows = source
    meant = images if rows is None else images[rows]
    image_B = torch.tensor([3, 0, len(meant) - 1, 3])

    for kept in (Resident(images, padding, CPU, rows), Streamed(images, padding, CPU, rows)):
        padded_MHWC, index_B = kept.padded(image_B)

        assert torch.equal(padded_MHWC[index_B], F.pad(meant[image_B], [padding] * 4).permute(0, 2, 3, 1))
        assert (padded_MHWC.dtype, index_B.dtype) == (torch.uint8, torch.int64)
        assert padded_MHWC.is_contiguous()
        assert (len(kept), kept.shape, kept.padding, kept.device) == (len(meant), meant.shape[1:], padding, CPU)


def test_announced_batches_are_the_same_in_any_order_and_epoch_after_epoch(streamed):
    for epoch in range(3):
        order = torch.randperm(50, generator=torch.Generator().manual_seed(epoch))
        streamed.expect(order.split(7))

        for image_B in order.split(7):
            assert torch.equal(shown(streamed, image_B), wanted(image_B))

    wait_until(lambda: readers() == [])  # the last thread has nothing left to read


def test_what_was_not_announced_is_right_too_and_what_was_stays_next(streamed):
    announced = torch.arange(50).split(5)
    streamed.expect(announced)

    for image_B in announced:
        other_B = 49 - image_B
        assert torch.equal(shown(streamed, other_B), wanted(other_B))
        assert torch.equal(shown(streamed, image_B), wanted(image_B))
        assert torch.equal(shown(streamed, image_B[:2]), wanted(image_B[:2]))


def test_after_the_last_announced_batch_one_may_go_on(streamed):
    streamed.expect([torch.arange(4)])

    for _ in range(3):
        assert torch.equal(shown(streamed, torch.arange(4)), wanted(torch.arange(4)))


def test_a_new_announcement_replaces_the_old_one(streamed):
    streamed.expect(torch.arange(50).split(2))
    assert torch.equal(shown(streamed, torch.tensor([0, 1])), wanted(torch.tensor([0, 1])))

    streamed.expect(torch.arange(50).flip(0).split(2))

    assert len(readers()) == 1
    for image_B in torch.arange(50).flip(0).split(2):
        assert torch.equal(shown(streamed, image_B), wanted(image_B))


def test_pixels_can_be_asked_for_in_inference_mode(streamed):
    streamed.expect([torch.arange(3)])

    with torch.inference_mode():
        announced, other = shown(streamed, torch.arange(3)), shown(streamed, torch.arange(3, 5))

    assert torch.equal(torch.cat([announced, other]), wanted(torch.arange(5)))


@pytest.mark.parametrize("image", [-1, 25])
def test_an_image_that_does_not_exist_is_refused(image):
    streamed = Streamed(some_images(), 2, CPU, torch.arange(25))

    with pytest.raises(IndexError, match="only 0 to 24"):
        streamed.padded(torch.tensor([0, image]))


@pytest.mark.gpu
@pytest.mark.parametrize("announced", [True, False])
def test_a_gpu_is_shown_the_same_pixels(source, announced):
    images, rows = source
    gpu = torch.device("cuda", torch.cuda.current_device())
    order = torch.randperm(25, generator=torch.Generator().manual_seed(0))
    streamed, resident = Streamed(images, 2, gpu, rows), Resident(images, 2, gpu, rows)
    if announced:
        streamed.expect(order.split(4))

    for image_B in order.split(4):
        streamed_BHWC, index_B = streamed.padded(image_B)
        assert (streamed_BHWC.device, index_B.device) == (gpu, gpu)
        assert torch.equal(streamed_BHWC[index_B], shown(resident, image_B))

    streamed.close()
