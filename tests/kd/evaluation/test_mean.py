"""What several models say together: the mean of their probabilities, as logits."""

import pytest
import torch

from kd.evaluation.mean import mean_logits


def test_together_they_say_the_mean_of_their_probabilities():
    torch.manual_seed(0)
    logits_MNC = torch.randn(3, 50, 7) * 10

    together_NC = mean_logits(list(logits_MNC))

    wanted_NC = logits_MNC.double().softmax(dim=-1).mean(dim=0)
    assert torch.allclose(together_NC.double().softmax(dim=-1), wanted_NC, atol=1e-7)
    assert torch.allclose(together_NC.half().double().softmax(dim=-1), wanted_NC, atol=1e-3), "in half precision, too"


@pytest.mark.parametrize("gap", [50.0, 1e4, 6.5e4])
def test_where_one_is_sure_and_the_other_is_sure_of_something_else_each_has_half(gap):
    one_NC, other_NC = torch.tensor([[gap, -gap, 0.0]]), torch.tensor([[-gap, gap, 0.0]])

    kept_NC = mean_logits([one_NC, other_NC]).half()

    assert kept_NC.isfinite().all()
    assert torch.allclose(kept_NC.float().softmax(dim=-1), torch.tensor([[0.5, 0.5, 0.0]]), atol=1e-3)


def test_a_member_that_is_asked_alone_is_heard_as_it_is():
    logits_NC = torch.randn(5, 4)

    assert torch.allclose(mean_logits([logits_NC]).softmax(-1), logits_NC.softmax(-1))
    assert torch.allclose(mean_logits([logits_NC + 3, logits_NC]).softmax(-1), logits_NC.softmax(-1))
