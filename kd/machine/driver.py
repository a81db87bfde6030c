"""NVIDIA's driver: its version, and the GPUs that it shows this process. Asked without torch."""

import os
from dataclasses import dataclass

import pynvml

from kd.errors import first_line


@dataclass(frozen=True)
class Driver:
    """What it says of itself."""

    version: str = ""
    gpus: tuple[str, ...] = ()
    """The name of each that `CUDA_VISIBLE_DEVICES` leaves, as it does for CUDA."""
    trouble: str | None = None
    """Why it does not answer, though it is there."""


def ask_driver() -> Driver | None:
    """None where there is none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return None
    except pynvml.NVMLError as error:
        return Driver(trouble=None if visible in ("", "-1") else first_line(error))
    try:
        version = pynvml.nvmlSystemGetDriverVersion()
        found = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        there = {str(index): pynvml.nvmlDeviceGetName(gpu) for index, gpu in enumerate(found)}
        by_uuid = {pynvml.nvmlDeviceGetUUID(gpu): there[str(index)] for index, gpu in enumerate(found)}
    except pynvml.NVMLError as error:
        return Driver(trouble=None if visible in ("", "-1") else first_line(error))
    finally:
        pynvml.nvmlShutdown()
    return Driver(version, tuple(there.values()) if visible is None else visible_ones(visible, there, by_uuid))


def visible_ones(visible: str, by_index: dict[str, str], by_uuid: dict[str, str]) -> tuple[str, ...]:
    """The GPUs that a `CUDA_VISIBLE_DEVICES` names: indices or UUIDs, up to the first that does not exist."""
    chosen: list[str] = []
    for word in (part.strip() for part in visible.split(",")):
        name = by_index.get(word) or next(
            (name for uuid, name in by_uuid.items() if word and uuid.startswith(word)), None
        )
        if name is None and word.startswith("MIG-"):
            name = word  # a part of a GPU, which has a list of its own
        if name is None:
            break
        chosen.append(name)
    return tuple(chosen)
