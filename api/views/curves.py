"""What a job has measured."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel

from api.views.numbers import Number, number


class Series(BaseModel):
    """One curve, column by column: the i-th value was measured at the i-th step."""

    step: list[int]
    value: list[Number]


class Metrics(BaseModel):
    object: Literal["metrics"]
    job_id: str
    series: dict[str, Series]


def metrics(job_id: str, found: Mapping[str, Sequence[tuple[int, float]]]) -> Metrics:
    return Metrics(
        object="metrics",
        job_id=job_id,
        series={
            name: Series(step=[step for step, _ in curve], value=[number(value) for _, value in curve])
            for name, curve in found.items()
        },
    )
