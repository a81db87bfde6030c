"""In which number format a run's forward computes."""

import torch
from torch.amp import GradScaler

from kd.errors import GradientDiverged

FORMATS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
# Whose gradients want a smaller factor than that, they are beyond 10⁹.
LEAST_SCALE = 2.0**-14


def find_precision(name: str, device: torch.device) -> str:
    """`auto` is bf16 on a GPU that computes in it, fp16 on an older one, and fp32 on a CPU."""
    if name != "auto":
        return name
    if device.type != "cuda":
        return "fp32"
    # Before compute capability 8 bf16 is emulated, and slower than fp32.
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def make_scaler(device: torch.device, autocast_dtype: torch.dtype | None) -> GradScaler:
    """What keeps the gradients of fp16 within its range; in every other format it lets all through as it is.

    Small gradients are zero in fp16, so the loss is multiplied before the backward; a step whose gradients were too
    large for that is left out, and the factor halved (Micikevicius et al., 2018).
    """
    return GradScaler(device.type, enabled=autocast_dtype is torch.float16)


def read_scale(scaler: GradScaler, step: int, lr: float) -> dict[str, float]:
    """The factor, to be told with a step; nothing where there is none. The host waits for it.

    Raises `GradientDiverged` when it has been halved so often that no step will ever be taken again.
    """
    if not scaler.is_enabled():
        return {}
    scale: float = scaler.get_scale()
    if scale < LEAST_SCALE:
        raise GradientDiverged(step, lr)
    return {"loss_scale": scale}
