"""What an architecture normalises over: which recipe suits it depends on that."""

from kd.models import mlp_names
from kd.models.catalog import why_unknown
from kd.models.own import names as own_names
from kd.models.timm import catalog as timm_catalog
from kd.models.timm.catalog import Norm

# Of torchvision's; all others have batch norm. A test looks into the networks.
_OVER_LAYERS = ("convnext", "swin", "vit")
_WITHOUT = ("alexnet", "squeezenet1_0", "squeezenet1_1", "vgg11", "vgg13", "vgg16", "vgg19")

# Of one's own nobody can say it who has not built it, and who asks here builds nothing. The recipe of those that
# normalise over layers (AdamW, a warm-up, clipped gradients) lets any network learn; that of the others does not.
UNKNOWN: Norm = "layer"


def norm_of(arch: str) -> Norm | None:
    """None for a name that nothing is built by."""
    if own_names.is_own(arch):
        return own_names.norm_of(arch) or UNKNOWN
    if why_unknown(arch) is not None:
        return None
    library, _, name = arch.rpartition("/")
    if library == "timm":
        return timm_catalog.facts_of(name).norm
    if library == "torchvision":
        return "none" if name in _WITHOUT else "layer" if name.startswith(_OVER_LAYERS) else "batch"
    return "none" if name == "mlp" or mlp_names.read(name) is not None else "batch"
