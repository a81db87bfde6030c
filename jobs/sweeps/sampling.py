"""Where Optuna's sampler goes next, from what the members before have shown.

Optuna is asked and told; it stores nothing. Its study is made anew from our rows each time, and its chance is of the
sweep's seed and the member's number, so that whoever asks gets the same answer, also after a crash.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from jobs.sweeps.plan import Plan
from jobs.sweeps.space import Domain, Point
from jobs.sweeps.standings import Standing

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


def has_optuna() -> bool:
    return find_spec("optuna") is not None


def propose(plan: Plan, before: Sequence[Standing], number: int) -> Point:
    """The point of member `number`, by the tree-structured Parzen estimator (Bergstra et al., 2011). Those that still
    run count as the worst so far, so that no two look at one place."""
    import optuna  # here: it takes a second to import, and most sweeps need none

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    domains = {name: _distribution(domain) for name, domain in plan.space.items()}
    sampler = optuna.samplers.TPESampler(seed=(plan.seed * 1_000_003 + number) % 2**32, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([trial for one in before if (trial := _trial(plan, one, domains)) is not None])
    asked = study.ask(domains)
    return {name: _value(domain, asked.params[name]) for name, domain in plan.space.items()}


def _trial(plan: Plan, one: Standing, domains: Mapping[str, "BaseDistribution"]) -> "FrozenTrial | None":
    """A member as a trial. One that failed, or of which nobody knows any more, teaches nothing."""
    from optuna.trial import TrialState, create_trial

    params = {name: _parameter(domain, one.point[name]) for name, domain in plan.space.items()}
    if one.alive:
        return create_trial(state=TrialState.RUNNING, params=params, distributions=dict(domains))
    if one.validation is None:
        return None
    if one.succeeded:
        return create_trial(value=one.validation, params=params, distributions=dict(domains))
    if one.code != "pruned":
        return None
    reached = {one.epochs or 1: one.validation}
    return create_trial(
        state=TrialState.PRUNED, params=params, distributions=dict(domains), intermediate_values=reached
    )


def _distribution(domain: Domain) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if domain.values is not None:
        return CategoricalDistribution(range(len(domain.values)))  # by place: a value may be an object
    if domain.integer is not None:
        first, last = domain.integer
        return IntDistribution(first, last)
    low, high = domain.extremes
    return FloatDistribution(low, high, log=domain.log_uniform is not None)


def _value(domain: Domain, parameter: Any) -> Any:
    return parameter if domain.values is None else domain.values[parameter]


def _parameter(domain: Domain, value: Any) -> Any:
    return value if domain.values is None else domain.values.index(value)
