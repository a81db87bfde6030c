"""How far to walk through a life of the queue."""

from hypothesis import HealthCheck, settings


def how_often(examples: int, steps: int = 40, **more: object) -> settings:
    """The same walks every time: what is found can be found again."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )
