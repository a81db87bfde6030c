"""How many images are predicted at a time is a matter of memory, and never of the logits."""

import pytest
import torch

from kd.evaluation.predict import SMALLEST_BATCH, batch_size
from kd.models.folding import for_inference
from tests.kd.models.born import born, images

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_a_batch_holds_fewer_images_the_larger_they_are():
    sizes = [batch_size(CPU, (3, side, side)) for side in (8, 28, 32, 64, 224)]

    assert sizes == [1024, 83, 64, 16, SMALLEST_BATCH]
    assert batch_size(GPU, (3, 32, 32)) == 1024


@pytest.mark.parametrize("arch", ["mlp", "cnn", "resnet20", "wrn_16_2"])
@torch.inference_mode()
def test_an_image_has_the_same_logits_in_every_batch_and_at_every_place_in_it(arch):
    model, order = for_inference(born(arch)), torch.randperm(64, generator=torch.Generator().manual_seed(3))

    logits_BC = model(images(64))

    for size in (SMALLEST_BATCH, 17, 23, 32, 63):
        assert torch.equal(model(images(64)[:size]), logits_BC[:size]), size
    shuffled = images(64)[order].contiguous(memory_format=torch.channels_last)
    assert torch.equal(model(shuffled), logits_BC[order])
