"""The objectives that `benchmarks/objectives.py` compares, and their controls."""

from typing import Any

CONTROL = "control"
CONTROL_OF_PAIRS = "control in pairs"


def settings() -> dict[str, dict[str, Any]]:
    """The objectives that are compared, by a name that says what is in them."""
    found: dict[str, dict[str, Any]] = {}
    for weight in (0.9, 1.9, 4.0):
        for temperature in (1, 2, 4):
            found[f"kd {weight:g} T{temperature}"] = {"temperature": temperature, "soft_weight": weight}
    # The usual pair sums to one; these keep the labels in full beside it.
    found |= {f"kd {name} whole labels": kd | {"hard_weight": 1.0} for name, kd in _short(found).items()}
    for weight in (0.9, 9.0):
        found[f"kd {weight:g} T2 standardized"] = {"temperature": 2, "soft_weight": weight, "standardize": True}
    for beta in (2, 8):
        found[f"dkd β{beta} T4"] = {"method": "dkd", "beta": beta, "hard_weight": 1.0, "soft_weight": 1.0}
        found[f"dkd β{beta} T2"] = found[f"dkd β{beta} T4"] | {"temperature": 2}
    for weight, temperature in ((1.0, 1), (2.0, 1), (2.0, 4)):
        own = {"method": "dist", "hard_weight": 1.0, "soft_weight": weight, "temperature": temperature}
        found[f"dist {weight:g} T{temperature}"] = own
    for weight in (0.1, 0.3, 1.0):
        found[f"wttm {weight:g}"] = {"method": "wttm", "hard_weight": 1.0, "soft_weight": weight}
    found["cross_view 0.9"] = {"method": "cross_view"}
    found["cross_view 0.9 whole labels"] = {"method": "cross_view", "hard_weight": 1.0}
    for preset in ("crld", "mlkd"):
        found[f"cross_view {preset}"] = {"method": "cross_view", "preset": preset}
    ungated = {"within": {"weight": 2.0}, "cross": {"weight": 0.5}}
    found["cross_view crld ungated"] = found["cross_view crld"] | ungated
    return found


def are_pairs(setting: str) -> bool:
    return setting == CONTROL_OF_PAIRS or setting.startswith("cross_view")


def _short(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name.removeprefix("kd "): kd for name, kd in found.items() if kd["soft_weight"] in (0.9, 1.9)}
