"""What networks of an architecture see of an image unless somebody says otherwise. No torch."""

from kd.models.catalog import TIMM, TORCHVISION
from kd.models.preprocess.said import NAMED, Preprocess
from kd.models.timm import catalog as timm_catalog


def usual(arch: str) -> Preprocess | None:
    """Of timm's what its published weights have learnt from. None: what the data set's own networks see, unless it
    must be said."""
    if arch not in TIMM:
        return None
    facts = timm_catalog.facts_of(arch.removeprefix(timm_catalog.PREFIX))
    return Preprocess(mean=facts.mean, std=facts.std, size=(facts.side, facts.side))


def why_unsaid(arch: str, said: Preprocess | None) -> str | None:
    """What nobody can guess and must be said, as a clause."""
    if arch in TORCHVISION and said is None:
        return (
            f"it must be said what {arch} has learnt to see of pixels: {', '.join(NAMED)}, or mean and std "
            "(torchvision's own weights have learnt from imagenet)"
        )
    return None
