"""What a spec leaves open is filled in by a recipe; what it says is left as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd.models.catalog import MODELS
from kd.spec import parse, presets

MODES = ("train", "guide")
PRESETS = (*presets.PRESETS, "auto")


def config(given_config, mode="train"):
    return parse({"mode": mode, "config": given_config}).config


@given(
    mode=st.sampled_from(MODES),
    recipe=st.sampled_from(PRESETS),
    dataset=st.sampled_from(["mnist5k", "digits", "fashion_mnist", "packed/mine"]),
    student=st.sampled_from([name for name in MODELS if not name.startswith("torchvision/incep")]),
    objective=st.sampled_from([{}, {"method": "dkd"}, {"soft_weight": 0.5}, {"soft_weight": 0}, {"temperature": 3}]),
    optimizer=st.sampled_from([{}, {"name": "adamw"}, {"lr": 0.3}, {"clip_norm": 1.0}]),
)
def test_a_spec_that_was_resolved_is_resolved_to_itself(mode, recipe, dataset, student, objective, optimizer):
    first = parse(
        {
            "mode": mode,
            "config": {
                "recipe": recipe,
                "dataset": dataset,
                "student": {"arch": student},
                "objective": objective,
                "optimizer": optimizer,
            },
        }
    )

    assert parse(first.model_dump(mode="json")) == first


def test_auto_stands_for_balanced():
    auto, balanced = config({}), config({"recipe": "balanced"})

    assert auto.model_copy(update={"recipe": "balanced"}) == balanced


@pytest.mark.parametrize("recipe", PRESETS)
def test_what_is_set_by_hand_counts(recipe):
    own = {
        "epochs": 7,
        "views": 3,
        "optimizer": {"lr": 0.3},
        "objective": {"method": "kd", "temperature": 3, "soft_weight": 0.5},
        "teacher": {"epochs": 2, "optimizer": {"lr": 0.007}},
    }

    resolved = config({"recipe": recipe, **own}).model_dump(mode="json")

    assert resolved["control"] is True  # a rate of one's own is both models'
    for field, value in own.items():
        expected = value.items() if isinstance(value, dict) else [(None, value)]
        for name, said in expected:
            found = resolved[field] if name is None else resolved[field][name]
            assert found == said or said.items() <= found.items()


def test_a_part_that_was_begun_is_filled_up():
    resolved = config({"student": {"arch": "resnet8"}, "optimizer": {"clip_norm": 1.0}, "objective": {"method": "dkd"}})

    assert resolved.optimizer.lr == presets.RATES["batch"]["sgd"]
    assert resolved.optimizer.clip_norm == 1.0
    assert resolved.objective.temperature == presets.TERMS["dkd"]["temperature"]
    assert resolved.objective.hard_weight == presets.WEIGHTS["dkd"]["hard_weight"]


def test_a_longer_preset_trains_longer_and_a_larger_data_set_for_fewer_epochs():
    fast, balanced, best = (config({"recipe": name}) for name in ("fast", "balanced", "best"))
    large = config({"dataset": "fashion_mnist"})

    assert fast.epochs < balanced.epochs < best.epochs
    assert fast.teacher.epochs < balanced.teacher.epochs < best.teacher.epochs
    assert fast.views < balanced.views < best.views
    assert large.epochs < balanced.epochs
    size = presets.size_of("mnist5k", None)
    assert [presets.cost(name, size) for name in ("fast", "balanced", "best")] == sorted(
        presets.cost(name, size) for name in presets.PRESETS
    )
    assert presets.cost("balanced", size) == 1


@pytest.mark.parametrize(
    ("student", "optimizer"), [("mlp", "sgd"), ("resnet8", "sgd"), ("timm/vit_tiny_patch16_224", "adamw")]
)
def test_the_optimizer_suits_what_the_student_normalises_over(student, optimizer):
    assert config({"student": {"arch": student}}).optimizer.name == optimizer


def test_the_rate_rises_first_where_layers_are_normalised_and_not_for_longer_than_the_run_lasts():
    vit = {"student": {"arch": "timm/vit_tiny_patch16_224"}}

    assert config(vit).schedule.warmup_epochs == presets.WARMUP_EPOCHS
    assert 0 < config({**vit, "epochs": 1}).schedule.warmup_epochs < 1


def test_every_member_of_a_committee_is_trained_by_the_recipe_and_one_of_a_job_is_left_alone():
    job = {"job": "job_01M8EKZ32J6DC7SRVZW4W81VDJ"}

    trained, brought = config({"teacher": {"committee": [{"arch": "cnn"}, job]}}).teacher.committee

    assert trained == config({}).teacher
    assert brought.model_dump(mode="json") == job | {"role": "teacher"}


def test_a_spec_that_was_accepted_before_there_were_recipes_stays_what_it_was():
    old = parse({"mode": "train", "config": {}}).model_dump(mode="json")
    del old["config"]["recipe"], old["config"]["epochs"], old["config"]["views"]

    accepted = parse(old, accepted=True).config

    assert (accepted.epochs, accepted.views) == (30, 4)


@pytest.mark.parametrize(
    "wrong", [{"recipe": "fastest"}, {"student": {"arch": "mlpp"}}, {"teacher": 3}, {"epochs": "x"}]
)
def test_what_is_wrong_is_told_by_its_own_field_and_by_no_other(wrong):
    with pytest.raises(ValueError, match="1 validation error") as told:
        config(wrong)
    (field,) = wrong
    assert told.value.errors()[0]["loc"][:3] == ("train", "config", field)


def test_the_order_of_the_classes_counts_beside_what_is_believed_unless_there_are_few():
    few, many, unknown = (config({"dataset": name}).objective for name in ("mnist5k", "cifar100", "packed/mine"))

    assert few == config({"objective": {"method": "kd"}}).objective
    assert [term.method for term in many.also] == ["dist"]
    assert many == unknown


def test_with_batch_norm_the_order_is_all_that_is_asked_for():
    student = {"student": {"arch": "resnet8"}}

    assert config(student).objective == config(student | {"objective": {"method": "dist"}}).objective
