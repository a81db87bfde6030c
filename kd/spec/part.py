"""What every piece of a spec has in common."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo
from pydantic_core import PydanticCustomError


def without_default(schema: dict[str, Any]) -> None:
    """For the schema of a field whose default depends on the rest of the spec: any that it told would be wrong."""
    del schema["default"]


class Part(BaseModel):
    """A piece of a spec: unknown fields and wrong types are refused, numbers are finite, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def context(*, accepted: bool = False, data_folder: Path | None = None) -> dict[str, Any]:
    """What a validation is told besides the spec.

    `accepted`: it was accepted once, perhaps by a version that let pass what does nothing. `data_folder`: where packed
    data sets are, so that a recipe can suit them.
    """
    return {"accepted": accepted, "data_folder": data_folder}


def was_accepted(info: ValidationInfo) -> bool:
    return bool(info.context and info.context.get("accepted"))


def data_folder(info: ValidationInfo) -> Path | None:
    return info.context.get("data_folder") if info.context else None


def refuse_idle(part: Part, info: ValidationInfo, *fields: str, acts_with: str) -> None:
    """Refuse a field that was set to something and cannot act: whoever set it believes that it does.

    Its default is no such setting: a spec that is printed whole, and read again, has it too.
    """
    for name in () if was_accepted(info) else fields:
        # Itself, and not a copy as `get_default` makes: this is asked some twenty times of a spec.
        if getattr(part, name) != type(part).model_fields[name].default:
            raise PydanticCustomError(
                "idle",
                "{field} would do nothing here: it acts only with {acts_with}",
                {"field": name, "acts_with": acts_with},
            )
