"""Distillation: one network learns what an ensemble predicts."""

from torch import Tensor
from torch.nn import functional

from polyak.metrics import softmax


def distillation_loss(
    logits: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    labels: Tensor | None = None,
    label_weight: float = 0.1,
) -> Tensor:
    """Compare a network's logits with its teacher's predictions of the same inputs.

    Args:
        logits: float (N, K), of the network that learns.
        teacher: float (N, K), logits or log-probabilities; no gradient flows into them.
        temperature: divides both, so that unlikely classes teach too; the loss is multiplied by its
            square, which keeps the size of its gradients.
        labels: int (N,), the true classes, where they shall teach as well.
        label_weight: their share of the loss, 0 to 1.

    Returns:
        The mean loss, 0-dimensional.

    Source: Hinton, Vinyals & Dean, "Distilling the knowledge in a neural network", 2015.

    >>> import torch
    >>> same = torch.tensor([[2.0, 0.0]])
    >>> entropy = distillation_loss(same, same)  # what is left when all is learnt
    >>> bool(distillation_loss(-same, same) > entropy)
    True
    """
    targets = softmax(teacher.detach(), temperature)
    loss = functional.cross_entropy(logits / temperature, targets) * temperature**2
    if labels is None:
        return loss
    return (1 - label_weight) * loss + label_weight * functional.cross_entropy(logits, labels)
