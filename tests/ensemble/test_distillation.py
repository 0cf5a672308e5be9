"""The distillation loss: torch's divergence, Hinton's scale, and labels where they are wanted."""

import pytest
import torch
from torch.nn import functional

from polyak.ensemble import distillation_loss


def test_its_gradient_is_that_of_torchs_divergence():
    torch.manual_seed(0)
    logits, teacher = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    for temperature in (1.0, 4.0):
        found = distillation_loss(logits, teacher, temperature=temperature)
        divergence = functional.kl_div(
            (logits / temperature).log_softmax(1),
            (teacher / temperature).log_softmax(1),
            reduction="batchmean",
            log_target=True,
        )
        (mine,) = torch.autograd.grad(found, logits)
        (want,) = torch.autograd.grad(divergence * temperature**2, logits)
        assert torch.allclose(mine, want, atol=1e-6)
        assert teacher.grad is None


def test_nothing_is_left_to_learn_at_the_teacher_itself():
    logits = torch.randn(5, 3, requires_grad=True)
    distillation_loss(logits, logits.detach(), temperature=2.0).backward()
    assert logits.grad.abs().max() < 1e-6


def test_labels_teach_by_their_weight():
    logits, teacher, labels = torch.randn(5, 3), torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    hard = functional.cross_entropy(logits, labels)
    soft = distillation_loss(logits, teacher)
    found = distillation_loss(logits, teacher, labels=labels, label_weight=0.25)
    assert found.item() == pytest.approx(0.75 * soft.item() + 0.25 * hard.item(), rel=1e-5)
    alone = distillation_loss(logits, teacher, labels=labels, label_weight=1.0)
    assert alone.item() == pytest.approx(hard.item(), rel=1e-6)
