"""The GPUs that trainers of this process can see, asked of the driver: the worker itself never loads torch."""

import os

import pynvml


def names() -> tuple[str, ...]:
    """The name of each; none where there is no driver. `CUDA_VISIBLE_DEVICES` counts as it does for CUDA."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        found = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        there = {str(index): pynvml.nvmlDeviceGetName(gpu) for index, gpu in enumerate(found)}
        by_uuid = {pynvml.nvmlDeviceGetUUID(gpu): there[str(index)] for index, gpu in enumerate(found)}
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(there.values()) if visible is None else visible_ones(visible, there, by_uuid)


def visible_ones(visible: str, by_index: dict[str, str], by_uuid: dict[str, str]) -> tuple[str, ...]:
    """The GPUs that a `CUDA_VISIBLE_DEVICES` names: indices or UUIDs, up to the first that does not exist."""
    chosen: list[str] = []
    for word in (part.strip() for part in visible.split(",")):
        name = by_index.get(word) or next(
            (name for uuid, name in by_uuid.items() if word and uuid.startswith(word)), None
        )
        if name is None:
            break
        chosen.append(name)
    return tuple(chosen)
