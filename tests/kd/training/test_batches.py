"""Batches are prepared many at a time, and are what they would be one by one; anchors and averages along the way."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kd.models.build import build
from kd.objectives.objective import Answer
from kd.parallel.team import Team
from kd.randomness import permutation
from kd.training import batches as preparing
from kd.training.anchors import Trail
from kd.training.batches import count_batches, cut_batches, cut_evenly
from kd.training.ema import Average
from kd.training.guidance import Guidance
from kd.training.run import Shown
from kd.views.pixels import Resident, Streamed
from kd.views.plan import ViewPlan
from kd.views.viewer import Viewer

COUNT = 203
PLANS = {"plain": ViewPlan(2, True), "mixed": ViewPlan(2, True, strong=1, mixup=0.4, cutmix=1.0)}


PAIRED = ViewPlan(2, True, strong=2, paired=True)


def split(plan: ViewPlan, where: type[Resident] | type[Streamed] = Resident) -> Shown:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (COUNT, 3, 8, 8), dtype=torch.uint8, generator=generator)
    labels_N = torch.randint(5, (COUNT,), generator=generator)
    return Shown(Viewer(where(images, 2, "cpu"), plan, (0.5,) * 3, (0.2,) * 3), labels_N)


class Numbers(Guidance):
    """A teacher whose answer is the image's own number."""

    def view(self, epoch: int) -> int:
        return epoch

    def answer(self, image_B: torch.Tensor, epoch: int) -> Answer:
        return Answer(image_B[:, None] + 1000.0 * epoch)


@pytest.mark.parametrize("block", [1, 3 * 8 * 8 * 70, 1 << 22])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_batch_is_its_part_of_the_order_in_the_epoch_s_view(plan, block, monkeypatch):
    monkeypatch.setattr(preparing, "BLOCK", block)
    shown, order_N = split(plan), permutation(COUNT, 7)

    cut = list(cut_batches(shown, shown.viewer, order_N, 5, 20, guidance=Numbers(), epoch=3))

    assert len(cut) == count_batches(COUNT, 20, Team()) == 11
    for batch, image_B in zip(cut, order_N.tensor_split(11), strict=True):
        view_BP = shown.viewer.parameters(image_B, torch.full_like(image_B, 5))
        assert torch.equal(batch.pixels_BCHW, shown.viewer.replay(image_B, view_BP))
        assert torch.equal(batch.labels_B, shown.labels_N[image_B])
        assert torch.equal(batch.answer.logits_BC[:, 0], image_B + 3000.0)
        assert batch.weight == 1
        mix = shown.viewer.mix(view_BP)
        assert (batch.mix is None) == (mix is None) == (not plan.mixes)
        if mix is not None:
            assert torch.equal(batch.mix.partner_B, shown.labels_N[mix.partner_B])
            assert torch.equal(batch.mix.share_B, mix.share_B)


def test_batches_can_be_taken_up_in_the_middle_of_an_epoch():
    shown, order_N = split(PLANS["mixed"]), permutation(COUNT, 7)

    whole = list(cut_batches(shown, shown.viewer, order_N, 5, 20))
    rest = list(cut_batches(shown, shown.viewer, order_N, 5, 20, first=4))

    assert len(rest) == len(whole) - 4
    for expected, got in zip(whole[4:], rest, strict=True):
        assert torch.equal(expected.pixels_BCHW, got.pixels_BCHW)
        assert torch.equal(expected.labels_B, got.labels_B)


@given(st.integers(1, 500), st.integers(2, 64), st.integers(1, 4))
def test_in_a_team_each_image_is_somebody_s_and_the_weights_make_the_batch_s_mean(count, batch_size, size):
    teams = [Team(rank, size) for rank in range(size)]
    order_N = permutation(count, 1)

    sizes = {len(batch_B) for batch_B in cut_evenly(order_N, batch_size, teams[0])}
    assert max(sizes) - min(sizes) <= 1, "a rest of a few images"
    assert max(sizes) <= max(batch_size, 4 * size - 1)
    for batch_B in cut_evenly(order_N, batch_size, teams[0]):
        shares = [team.share(batch_B) for team in teams]
        assert sorted(torch.cat(shares).tolist()) == sorted(batch_B.tolist())
        assert sum(len(share) / len(batch_B) for share in shares) == pytest.approx(1)
        if count >= 2 * size:
            assert min(len(share) for share in shares) >= 2


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("pieces", [1, 3])
def test_the_pieces_of_a_batch_are_the_batch_and_their_weights_sum_up_to_its_own(plan, pieces):
    shown, order_N = split(plan), permutation(COUNT, 7)

    for batch in cut_batches(shown, shown.viewer, order_N, 5, 20, pieces=pieces, guidance=Numbers(), epoch=3):
        cut = list(batch.pieces(pieces))

        assert len(cut) == pieces
        assert min(len(piece.labels_B) for piece in cut) >= 2
        assert sum(piece.weight for piece in cut) == pytest.approx(batch.weight)
        assert torch.equal(torch.cat([piece.pixels_BCHW for piece in cut]), batch.pixels_BCHW)
        assert torch.equal(torch.cat([piece.labels_B for piece in cut]), batch.labels_B)
        assert torch.equal(torch.cat([piece.answer.logits_BC for piece in cut]), batch.answer.logits_BC)


class PairNumbers(Numbers):
    """A teacher whose answer is the image's number, and a half more of its strong view."""

    def answer(self, image_B: torch.Tensor, epoch: int) -> Answer:
        return Answer(torch.stack([image_B, image_B + 0.5], dim=1).flatten()[:, None])


@pytest.mark.parametrize("block", [1, 1 << 22])
@pytest.mark.parametrize("where", [Resident, Streamed])
def test_a_batch_of_pairs_has_a_weak_and_a_strong_view_of_each_image_in_turn(where, block, monkeypatch):
    monkeypatch.setattr(preparing, "BLOCK", block)
    shown, order_N = split(PAIRED, where), permutation(COUNT, 7)

    cut = list(cut_batches(shown, shown.viewer, order_N, 5, 20, guidance=PairNumbers(), epoch=3))

    alone = split(PAIRED).viewer
    for batch, image_B in zip(cut, order_N.tensor_split(11), strict=True):
        row_R = image_B.repeat_interleave(2)
        wanted = alone.show(row_R, torch.tensor([10, 11]).repeat(len(image_B)))
        assert torch.equal(batch.pixels_BCHW, wanted)
        assert torch.equal(batch.labels_B, shown.labels_N[row_R])
        assert torch.equal(batch.answer.logits_BC[::2, 0], image_B.float())
        assert torch.equal(batch.answer.logits_BC[1::2, 0], image_B + 0.5)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("pieces", [1, 3])
def test_pairs_stay_together_in_pieces_and_shares_whose_weights_sum_up(size, pieces):
    shown, order_N, teams = split(PAIRED), permutation(COUNT, 7), [Team(rank, size) for rank in range(size)]
    whole = cut_batches(shown, shown.viewer, order_N, 5, 20, pieces=pieces, team=teams[0], guidance=PairNumbers())

    cuts = [
        cut_batches(shown, shown.viewer, order_N, 5, 20, pieces=pieces, team=team, guidance=PairNumbers())
        for team in teams
    ]
    expected = cut_evenly(order_N, 20, teams[0], pieces)
    assert len(list(whole)) == len(expected)
    for image_B, *shares in zip(expected, *cuts, strict=True):
        parts = [piece for share in shares for piece in share.pieces(pieces)]
        rows_R = torch.cat([part.answer.logits_BC[:, 0] for part in parts])
        assert sorted(rows_R.tolist()) == sorted([*image_B.tolist(), *(image_B + 0.5).tolist()])
        for part in parts:
            assert torch.equal(part.answer.logits_BC[1::2], part.answer.logits_BC[::2] + 0.5)
            assert torch.equal(part.labels_B[::2], part.labels_B[1::2])
        # What the processes take the mean of is the mean over the batch's images.
        mean = sum(part.weight * part.answer.logits_BC.mean() for part in parts) / size
        assert mean == pytest.approx(image_B.double().mean() + 0.25)


@pytest.mark.parametrize(("count", "batches"), [(960, 15), (962, 16), (963, 16), (65, 2), (64, 1), (5, 1)])
def test_an_epoch_is_cut_evenly_and_leaves_no_rest(count, batches):
    sizes = [len(batch_B) for batch_B in cut_evenly(torch.arange(count), 64, Team())]

    assert (len(sizes), sum(sizes)) == (batches, count)
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 200), st.integers(1, 8))
def test_anchors_are_spread_over_the_training_up_to_its_best_moment(epochs, wanted):
    trail, model = Trail(wanted), torch.nn.Linear(1, 1)
    for epoch in range(1, epochs + 1):
        trail.pass_by(epoch, model, {"top1": epoch / epochs})

    anchors = [moment.epoch for moment in trail.anchors(before=epochs)]

    assert len(trail.moments) <= 2 * wanted
    assert anchors == sorted(set(anchors))
    assert all(epoch < epochs for epoch in anchors)
    assert len(anchors) == min(wanted, len([m for m in trail.moments if m.epoch < epochs]))
    if len(anchors) > 1:
        gaps = [later - earlier for earlier, later in itertools.pairwise(anchors)]
        assert max(gaps) - min(gaps) <= trail.stride


def test_an_average_remembers_its_model_s_past_and_has_its_statistics():
    torch.manual_seed(0)
    model = build("cnn_small", 5, (1, 8, 8))
    average = Average(model, 0.9)
    weights, wanted = [], [parameter.detach().clone() for parameter in model.parameters()]

    for step in range(50):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter)
            model[1].running_mean += 1
        weights.append([parameter.detach().clone() for parameter in model.parameters()])
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        wanted = [decay * old + (1 - decay) * new for old, new in zip(wanted, weights[-1], strict=True)]

    for expected, got in zip(wanted, average.model.parameters(), strict=True):
        torch.testing.assert_close(got, expected)
    assert torch.equal(average.model[1].running_mean, model[1].running_mean)
    assert not average.model.training
