"""Which device a run is on."""

import os

import torch

from kd.errors import DeviceMissing


def find_device(name: str, gpus: int = 1) -> torch.device:
    """`auto` is CUDA where there is one; anything else is taken at its word. In a team each has a GPU of its own.

    Several CPU processes come only to who asks for `cpu` by name: they would not be faster than one.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() or gpus > 1 else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:  # no device of any machine has that name
        raise DeviceMissing(name) from error
    if device.type not in ("cpu", "cuda"):
        raise DeviceMissing(name)
    if device.type != "cuda":
        return device
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) if gpus > 1 else device.index or 0)
    if max(device.index, gpus - 1) >= torch.cuda.device_count():
        raise DeviceMissing(name, gpus, torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device
