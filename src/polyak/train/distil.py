"""Distillation: a finished model, an ensemble perhaps, tells the targets of one network."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from polyak.errors import RefusedError
from polyak.model import Classifier, load
from polyak.networks.preprocessing import Preprocessing
from polyak.train.checkpoint import digest


class Teacher:
    """Say the averaged probabilities of a classifier on pictures prepared for another network.

    Args:
        classifier: any number of members.
        page: how the pictures were prepared.
        classes: the learner's, in its order.

    Raises:
        UsageError: the classifier knows other classes.

    Source: Hinton, Vinyals & Dean, "Distilling the knowledge in a neural network", 2015; targets at
    the teacher's own calibrated temperature.
    """

    def __init__(self, classifier: Classifier, page: Preprocessing, classes: tuple[str, ...]):
        self.members = [m for m in classifier.members if m.weight > 0]
        self.shares = [weight / sum(classifier.weights) for weight in classifier.weights]
        self.orders = [torch.from_numpy(m.order(classes)) for m in self.members]
        self.page, self.temperature, self.mean = page, classifier.temperature, classifier.mean

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Give targets (N, K), float32, of normalised images (N, 3, h, w).

        Raises:
            RefusedError: one is not finite.
        """
        total = torch.zeros((), device=images.device)
        for member, share, order in zip(self.members, self.shares, self.orders, strict=True):
            network: nn.Module = member.network.eval()
            logits = network(self._seen(images, member.preprocessing)) / member.temperature
            said = logits.float().log_softmax(1)[:, order.to(images.device)]
            total = total + share * (said if self.mean == "logits" else said.exp())
        logs = total if self.mean == "logits" else total.clamp(min=1e-38).log()
        targets = (logs / self.temperature).softmax(1)
        if not bool(targets.isfinite().all()):
            why = "its weights are damaged, or too large for the numbers that they meet"
            raise RefusedError("the teacher's answer is not finite", why=why)
        return targets

    def _seen(self, images: Tensor, wanted: Preprocessing) -> Tensor:
        """The same pictures as a member wants them: its colours, its size."""
        if (wanted.mean, wanted.std) != (self.page.mean, self.page.std):
            own = (images.new_tensor(v)[:, None, None] for v in (self.page.mean, self.page.std))
            its = (images.new_tensor(v)[:, None, None] for v in (wanted.mean, wanted.std))
            (mean, std), (its_mean, its_std) = own, its
            images = (images * std + mean - its_mean) / its_std
        if wanted.size != self.page.size:
            how = {"mode": "bilinear", "align_corners": False, "antialias": True}
            images = functional.interpolate(images, size=wanted.size, **how)
        return images


def teacher(
    path: str | None, page: Preprocessing, classes: tuple[str, ...], device: str
) -> Teacher | None:
    """Load the teacher that a recipe names, if it names one.

    Raises:
        RefusedError: it is no model.
        UsageError: it knows other classes.
    """
    return None if path is None else Teacher(load(path, device=device), page, classes)


def mark(path: str | None) -> str:
    """Hash the teacher's file, so that a resumed run has the same; nothing where there is none."""
    if path is None:
        return ""
    file = Path(path) / "model.safetensors" if Path(path).is_dir() else Path(path)
    return digest(file) if file.is_file() else ""


def check_unchanged(path: str | None, before: str, run: Path) -> None:
    """Refuse to go on with another teacher than a run began with.

    Raises:
        RefusedError: its file has changed.
    """
    if mark(path) != before:
        raise RefusedError(
            "the teacher has changed since this run began",
            where=str(path),
            kept=str(run),
            then="bring its file back, or start a new run without --resume",
        )
