"""Which of two representations a client would rather have."""

import re


def is_preferred(accept: str | None, media_type: str) -> bool:
    """Whether `Accept` asks for this rather than for JSON, which is the default."""
    return accept is not None and _quality(accept, media_type) > _quality(accept, "application/json")


def _quality(accept: str, media_type: str) -> float:
    """How much this type is wanted, 0..1, by the most specific range that it is in (RFC 9110, 12.5.1)."""
    ranges = {}
    for one in accept.split(","):
        name, *parameters = (part.strip().lower() for part in one.split(";"))
        weights = [value for key, _, value in (parameter.partition("=") for parameter in parameters) if key == "q"]
        ranges[name] = float(weights[0]) if weights and re.fullmatch(r"[01](\.\d{0,3})?", weights[0]) else 1.0
    general = media_type.partition("/")[0]
    return next((ranges[name] for name in (media_type, f"{general}/*", "*/*") if name in ranges), 0.0)
