"""Scores and costs against values worked out by hand."""

import math
import time
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from torch import Tensor, nn

from kd.evaluation.chance import weakness
from kd.evaluation.confusion import Confusion
from kd.evaluation.cost import latency, macs, parameters
from kd.evaluation.predict import predict
from kd.evaluation.scores import agreement, calibration_error, score
from kd.machine.torchvision_import import torchvision_models
from kd.models.build import build
from kd.views.pixels import Resident
from kd.views.plan import ViewPlan
from kd.views.viewer import Viewer


def logits_of(*rows: list[float]) -> Tensor:
    """Logits whose softmax is the rows."""
    return torch.tensor(rows).log()


def viewer(count: int = 10, channels: int = 1, side: int = 8) -> Viewer:
    shape = (count, channels, side, side)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Viewer(Resident(images, 2, "cpu"), ViewPlan(2, True), (0.5,) * channels, (0.25,) * channels)


# -- scores ------------------------------------------------------------------------------------------------------


def test_accuracy_and_surprise_of_three_images():
    logits_NC = logits_of([0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.3, 0.2])

    scores = score(logits_NC, torch.tensor([0, 2, 0]))

    assert set(scores) == {"top1", "nll", "ece"}
    assert scores["top1"] == pytest.approx(2 / 3)
    assert scores["nll"] == pytest.approx(-(math.log(0.7) + math.log(0.3) + math.log(0.5)) / 3, rel=1e-6)


def test_calibration_error_by_hand():
    # Fifteen bins: 0.95 and 0.97 share the last; 0.62 is alone in (0.6, 0.667].
    logits_NC = logits_of([0.95, 0.05], [0.03, 0.97], [0.62, 0.38])
    labels_N = torch.tensor([0, 0, 1])  # right, wrong, wrong

    ece = score(logits_NC, labels_N)["ece"]

    last, middle = abs(1 / 2 - 0.96), abs(0 - 0.62)
    assert ece == pytest.approx(last * 2 / 3 + middle / 3, rel=1e-6)


def test_errors_within_a_bin_cancel_and_across_bins_do_not():
    half_right = calibration_error(torch.tensor([0.5, 0.5]), torch.tensor([True, False]))
    apart = calibration_error(torch.tensor([0.5, 0.9]), torch.tensor([True, False]))

    assert half_right == 0
    assert apart == pytest.approx((0.5 + 0.9) / 2)


def test_the_edges_of_bins_belong_to_the_lower_one():
    # 3/15 = 0.2 lies in (2/15, 3/15] with 0.15, so that one's excess makes up for the other's want.
    low = calibration_error(torch.tensor([0.2, 0.15]), torch.tensor([True, False]))
    zero_and_one = calibration_error(torch.tensor([0.0, 1.0]), torch.tensor([False, True]))

    assert low == pytest.approx((0.8 - 0.15) / 2)
    assert zero_and_one == 0


def test_five_guesses_count_where_there_are_more_than_five_classes():
    logits_NC = torch.tensor([[6.0, 5, 4, 3, 2, 1, 0]]).repeat(7, 1)

    scores = score(logits_NC, torch.arange(7))

    assert scores["top5"] == pytest.approx(5 / 7)
    assert scores["top1"] == pytest.approx(1 / 7)


def test_a_perfect_and_sure_model_has_no_error():
    scores = score(torch.eye(8) * 1000, torch.arange(8))

    assert scores == {"top1": 1, "top5": 1, "nll": 0, "ece": 0}


def test_agreement_is_the_share_of_equal_answers():
    one = logits_of([0.7, 0.3], [0.4, 0.6], [0.9, 0.1], [0.2, 0.8])
    other = logits_of([0.6, 0.4], [0.1, 0.9], [0.3, 0.7], [0.6, 0.4])

    assert agreement(one, other) == 0.5
    assert agreement(one, one) == 1


def test_a_confusion_matrix_says_which_class_was_taken_for_which():
    labels_N = torch.tensor([0, 0, 0, 0, 1, 1, 3])
    predicted_N = torch.tensor([0, 0, 0, 1, 1, 3, 3])

    confusion = Confusion(predicted_N, labels_N, classes=4)

    assert confusion.pairs() == [(0, 0, 3), (0, 1, 1), (1, 1, 1), (1, 3, 1), (3, 3, 1)]
    assert confusion.recall_C.tolist()[:2] == [0.75, 0.5]
    assert math.isnan(confusion.recall_C[2]), "a class without images"
    assert confusion.balanced_accuracy == pytest.approx((0.75 + 0.5 + 1) / 3)
    assert confusion.macro_f1 == pytest.approx((6 / 7 + 2 / 4 + 2 / 3) / 3)


@given(st.integers(2, 6).flatmap(lambda classes: st.lists(st.tuples(*[st.integers(0, classes - 1)] * 2), min_size=1)))
def test_balanced_accuracy_and_macro_f1_are_scikit_learn_s(pairs):
    labels, predicted = map(list, zip(*pairs, strict=True))

    confusion = Confusion(torch.tensor(predicted), torch.tensor(labels), classes=6)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert confusion.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
        assert confusion.macro_f1 == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))


@pytest.mark.parametrize(
    ("top1", "nll", "labels", "said"),
    [
        (0.986, 0.1, [36, 36], None),  # two classes, half of the images each
        (0.9, 0.3, [900, 100], "always names the commonest class is right on 90.0%"),
        (0.92, 0.3, [900, 100], "hardly better than guessing"),
        (0.95, 0.2, [900, 100], None),
        (0.12, 2.2, [50] * 10, "hardly better than guessing"),
        (0.19, 2.2, [50] * 10, None),
        (1.0, 0.0, [99, 1], None),  # no error bar fits between chance and 100 %
        (0.9, 1e37, [50] * 10, "probabilities are worth less than the same one for each class"),
    ],
)
def test_chance_is_the_share_of_the_commonest_class(top1, nll, labels, said):
    labels_N = torch.repeat_interleave(torch.arange(len(labels)), torch.tensor(labels))

    weak = weakness({"top1": top1, "nll": nll}, labels_N, len(labels))

    assert (said is None) == (weak is None)
    assert said is None or said in weak


# -- predictions -------------------------------------------------------------------------------------------------


def test_predictions_are_of_the_plain_images_in_their_order():
    shown = viewer(10)
    model = build("cnn_small", 5, shown.shape)

    logits_NC = predict(model, shown)

    with torch.no_grad():
        wanted = model.eval()(shown.plain(torch.arange(10)))
    torch.testing.assert_close(logits_NC, wanted)
    assert logits_NC.dtype == torch.float32
    assert logits_NC.device.type == "cpu"


def test_the_size_of_batches_does_not_change_predictions():
    shown = viewer(2_500)  # two batches
    model = build("cnn_small", 5, (1, 8, 8)).eval()

    with torch.no_grad():
        one_by_one = torch.cat([model(shown.plain(torch.tensor([number]))) for number in range(2_500)])
    torch.testing.assert_close(predict(model, shown), one_by_one)


def test_prediction_leaves_every_part_of_a_model_in_its_mode_and_its_statistics_alone():
    model = build("cnn", 5, (1, 8, 8)).train()
    model[1].eval()  # a normalisation that its owner has frozen
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    predict(model, viewer())

    assert [module.training for module in model] == [True, False, *[True] * (len(model) - 2)]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_model_is_put_back_even_when_it_fails():
    model = build("cnn", 5, (3, 8, 8)).train()

    with pytest.raises(RuntimeError):
        predict(model, viewer(channels=1))

    assert all(module.training for module in model.modules())


def test_predictions_in_half_precision_are_close_and_come_in_fp32():
    model, shown = build("cnn_small", 5, (1, 8, 8)), viewer()

    exact, half = predict(model, shown), predict(model, shown, torch.bfloat16)

    assert half.dtype == torch.float32
    assert not torch.equal(exact, half)
    torch.testing.assert_close(exact, half, atol=0.05, rtol=0.05)


def test_predictions_can_be_learned_from():
    teacher_NC = predict(build("mlp", 5, (1, 8, 8)), viewer())
    student_NC = torch.zeros_like(teacher_NC, requires_grad=True)

    (student_NC * teacher_NC).sum().backward()  # an inference tensor could not be saved for this

    assert torch.equal(student_NC.grad, teacher_NC)


# -- costs -------------------------------------------------------------------------------------------------------


def test_parameters_are_counted():
    assert parameters(nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))) == 3 * 5 + 5 + 5 + 5


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        (nn.Conv2d(3, 8, 3, padding=1, bias=False), 8 * 3 * 9 * 5 * 7),
        (nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3), 6 * 1 * 9 * 3 * 4),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 5 * 7, 11)), 3 * 5 * 7 * 11),
        (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)), 0),
    ],
)
def test_multiply_accumulates_by_hand(model, wanted):
    assert macs(model, (3, 5, 7)) == wanted


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)  # [B, 35, 8]
        return self.attention(tokens, tokens, tokens, need_weights=False)[0]


def test_attention_is_counted_too():
    projections = 4 * 35 * 8 * 8
    scores_and_values = 2 * 35 * 35 * 8

    assert macs(Attention(), (8, 5, 7)) == projections + scores_and_values


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vit_b_16", "swin_t"])
def test_counts_are_those_that_torchvision_publishes(name):
    with torch.device("meta"):
        model = torchvision_models().get_model(name, weights=None)
    published = torchvision_models().get_model_weights(name)["IMAGENET1K_V1"].meta

    assert macs(model, (3, 224, 224)) / 1e9 == pytest.approx(published["_ops"], rel=0.01)
    assert parameters(model) == published["num_params"]


def test_counting_changes_nothing_of_the_model():
    model = build("cnn", 5, (1, 8, 8)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    macs(model, (1, 8, 8))

    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_latency_is_that_of_a_forward():
    class Sleepy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.shape == (4, 1, 8, 8)
            assert not self.training
            began = time.perf_counter()
            time.sleep(0.01)
            took.append(time.perf_counter() - began)
            return x

    model, took = Sleepy().train(), []

    assert min(took, default=0.01) <= latency(model, (1, 8, 8), "cpu", 4, seconds=0.1) <= 2 * max(took)
    assert model.training
