"""A file's tensors are those of a network if their names differ by a prefix, and else it is said which differ."""

import pytest

from kd.models.safetensors.names import NamesDiffer, match

NETWORK = {
    "stem.weight": (8, 3, 3, 3),
    "norm.running_mean": (8,),
    "norm.num_batches_tracked": (),
    "head.weight": (10, 8),
    "head.bias": (10,),
}


def prefixed(prefix: str) -> dict[str, tuple[int, ...]]:
    return {prefix + name: shape for name, shape in NETWORK.items()}


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "backbone.", "_orig_mod.", "module._orig_mod.", "of.mine."]
)
def test_any_one_prefix_in_the_file_is_found_and_told(prefix):
    found = match(prefixed(prefix), NETWORK)

    assert found.prefix == prefix
    assert found.theirs == {name: prefix + name for name in NETWORK}


def test_a_prefix_that_only_the_network_has_may_lack_in_the_file_or_be_another():
    network = prefixed("network.")

    for prefix in ("", "network.", "module."):
        assert match(prefixed(prefix), network).theirs == {f"network.{name}": prefix + name for name in NETWORK}


def test_counters_of_batches_may_be_missing():
    file = {name: shape for name, shape in prefixed("module.").items() if "num_batches" not in name}

    assert "norm.num_batches_tracked" not in match(file, NETWORK).theirs


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"stem.weight": None}, "does not have stem.weight"),
        ({"head.scale": (1,)}, "has, and resnet has not, head.scale"),
        ({"head.weight": (1000, 8)}, "has in another shape head.weight (1000×8, not 10×8)"),
        ({"norm.num_batches_tracked": (1,)}, "has in another shape norm.num_batches_tracked (1, not a single number)"),
        (
            {"head.bias": None, "more.bias": (10,)},
            "does not have head.bias; it has, and resnet has not, more.bias",
        ),
        (
            {f"blocks.{number}.weight": (1,) for number in range(12)},
            "has, and resnet has not, blocks.0.weight, blocks.1.weight, blocks.2.weight and 9 more",
        ),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_what_differs_is_named_the_first_few_and_how_many(change, why, prefix):
    file = {prefix + name: shape for name, shape in (NETWORK | change).items() if shape is not None}

    with pytest.raises(NamesDiffer) as caught:
        match(file, NETWORK, "resnet")

    assert caught.value.why.replace(prefix or "\0", "") == why


def test_weights_of_another_network_that_has_all_of_these_and_more_are_refused():
    with pytest.raises(NamesDiffer, match=r"has, and the model has not, blocks\.0\.weight"):
        match(NETWORK | {"blocks.0.weight": (8, 8)}, NETWORK)
