"""What every architecture must stand, of whichever family it is."""

from pathlib import Path

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from kd.models.build import build
from kd.models.safetensors.facts import Facts
from kd.models.weights import copy_of, load_model, save_weights
from kd.training.ema import Average

SHAPES = ((1, 28, 28), (1, 8, 8), (3, 32, 32))


class Weightless(TorchFunctionMode):
    """Weights have a shape but no content, so that even the largest network is built at once."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.empty:
            kwargs["device"] = "meta"
        return function(*args, **kwargs)


def assert_it_sorts_images(arch, shape):
    with Weightless():
        model = build(arch, 7, shape).to("meta").eval()

    logits_BC = model(torch.empty(2, *shape, device="meta"))

    assert logits_BC.shape == (2, 7), (arch, shape)


def assert_it_lives_through_a_job(arch, shape, folder):
    """Trained a step, averaged, copied, put into a file and taken out again, it says the same."""
    torch.manual_seed(0)
    model = build(arch, 7, shape)
    average = Average(model, 0.9)
    images = torch.randn(2, *shape)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    model.train()(images).square().mean().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # of two images on a map of 1×1 it is 1e7
    optimizer.step()
    average.update(0)
    model.eval()
    with torch.no_grad():
        wanted = model(images)
    state = copy_of(model)
    average.load(state)
    facts = Facts(arch=arch, classes=tuple("abcdefg"), shape=shape, mean=(0.5,) * shape[0], std=(0.2,) * shape[0])
    save_weights(state, facts, folder, Path("model.safetensors"))
    del model, optimizer, state

    loaded, read = load_model(folder / "model.safetensors")

    assert read == facts
    assert torch.isfinite(wanted).all()
    with torch.no_grad():
        assert torch.equal(loaded(images), wanted), "from its file"
        assert torch.equal(average.model(images), wanted), "as its own average"
