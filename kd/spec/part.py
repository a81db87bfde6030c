"""What every piece of a spec has in common."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A piece of a spec: unknown fields and wrong types are refused, numbers are finite, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
