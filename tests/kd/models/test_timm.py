"""timm's architectures: listed without timm, fed with small images, refused in words where timm is not installed."""

from importlib.metadata import PackageNotFoundError

import pytest
import torch

from kd.errors import ModelMissing, ModelUnfit
from kd.evaluation.cost import macs, parameters
from kd.events import Started
from kd.models.build import build
from kd.models.catalog import TIMM
from kd.models.folding import for_inference
from kd.models.timm import catalog as timm_catalog
from kd.models.timm.networks import size_for, timm_of
from kd.run import run
from kd.spec import parse
from tests.kd.models.trials import assert_it_lives_through_a_job

# Of every kind: plain and residual, mobile, by windows, by patches, hybrid, without a normalisation over the batch.
TWENTY = [
    "convnext_atto",
    "cspdarknet53",
    "deit_tiny_patch16_224",
    "densenet121",
    "edgenext_xx_small",
    "efficientnet_b0",
    "fastvit_t8",
    "ghostnet_100",
    "lcnet_050",
    "mobilenetv3_small_050",
    "mobilenetv4_conv_small",
    "mobilevitv2_050",
    "nf_resnet26",
    "regnety_002",
    "repvgg_a0",
    "resnet18",
    "swin_tiny_patch4_window7_224",
    "test_convnext",
    "tinynet_e",
    "vit_tiny_patch16_224",
]


# -- the catalogue ---------------------------------------------------------------------------------------------------


def test_the_catalogue_is_whole_and_each_of_its_lines_is_read():
    assert len(TIMM) > 500
    for name in timm_catalog.names():
        facts = timm_catalog.facts_of(name)
        assert timm_catalog.read(timm_catalog.write(name, facts)) == facts
        assert facts.parameters > 0
        assert facts.macs > 0
        assert facts.stride == max(stride for _, stride in facts.features)
        assert len(facts.mean) == len(facts.std) == 3


def test_the_catalogue_lists_what_timm_has_and_says_of_the_others_why_not():
    timm = timm_of("timm/*")
    listed, left_out = set(timm_catalog.names()), timm_catalog.names_left_out()

    assert not listed & left_out.keys()
    assert all(left_out.values())
    if timm.__version__ == timm_catalog.surveyed_version():
        assert listed | left_out.keys() == set(timm.list_models())
    else:
        assert listed <= set(timm.list_models())


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_what_the_catalogue_says_of_a_network_is_so(name):
    facts, arch = timm_catalog.facts_of(name), f"timm/{name}"
    model = build(arch, 10, (3, 32, 32))

    assert macs(model, (3, 32, 32)) == facts.macs
    assert parameters(build(arch, 10, (3, facts.side, facts.side))) == facts.parameters
    for module, _ in facts.features:
        assert model.network.get_submodule(module) is not None


# -- small images ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "size"),
    [
        # A residual network halves an image five times: four pixels must be left.
        ("resnet18", (3, 32, 32), (128, 128)),
        ("resnet18", (1, 28, 28), (128, 128)),
        ("resnet18", (1, 8, 8), (128, 128)),
        ("resnet18", (3, 40, 32), (160, 128)),
        ("resnet18", (3, 224, 224), (224, 224)),
        ("resnet18", (3, 225, 224), (256, 224)),
        # A vision transformer is built for one size, and sees four patches by four.
        ("vit_tiny_patch16_224", (3, 32, 32), (64, 64)),
        ("vit_tiny_patch16_224", (3, 40, 33), (64, 64)),
        ("vit_tiny_patch16_224", (3, 224, 224), (224, 224)),
    ],
)
def test_images_are_enlarged_until_four_by_four_places_are_left_at_the_end(name, shape, size):
    assert size_for(timm_catalog.facts_of(name), shape) == size


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 40)])
def test_a_network_of_timm_lives_through_a_job(name, shape, tmp_path):
    assert_it_lives_through_a_job(f"timm/{name}", shape, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", TWENTY)
def test_twenty_networks_of_timm_train_a_step_and_label(name, tmp_path):
    assert_it_lives_through_a_job(f"timm/{name}", (3, 32, 32), tmp_path)

    labeller = for_inference(build(f"timm/{name}", 10, (1, 28, 28)))
    logits_BC = labeller(torch.randn(4, 1, 28, 28))

    assert logits_BC.shape == (4, 10)
    assert logits_BC.half().isfinite().all()


def test_networks_of_timm_refuse_images_that_are_neither_gray_nor_rgb():
    with pytest.raises(ModelUnfit, match=r"32×32 pixels with 4 channel\(s\): it was made for 1 or 3 channels"):
        build("timm/resnet18", 10, (4, 32, 32))


# -- without timm, or with another one -------------------------------------------------------------------------------


@pytest.fixture
def without_timm(monkeypatch):
    def ask(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr("kd.models.timm.networks.version", ask)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_run_without_timm_ends_before_anything_is_trained(without_timm, role, tmp_path):
    spec = parse({"mode": "train", "config": {"dataset": "digits", role: {"arch": "timm/test_resnet"}}})
    told = run(spec, tmp_path)

    assert isinstance(next(told), Started)
    with pytest.raises(
        ModelMissing, match=r"^timm/test_resnet cannot be built here: timm is not installed: pip install"
    ):
        next(told)


def test_a_network_that_another_version_of_timm_lacks_is_refused_with_that_version(monkeypatch):
    monkeypatch.setattr(timm_of("timm/*"), "is_model", lambda name: False)

    with pytest.raises(ModelMissing, match=r"timm \d+\.\d+\.\d+ does not know it: pip install --upgrade"):
        build("timm/resnet18", 10, (3, 32, 32))
