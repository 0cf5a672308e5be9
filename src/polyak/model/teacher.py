"""A teacher: what a classifier predicts of images that were prepared for another network."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from polyak.ensemble import combine, tempered
from polyak.errors import RefusedError
from polyak.model.classifier import Classifier
from polyak.model.member import Member
from polyak.networks.preprocessing import Preprocessing


class Teacher:
    """Give a classifier's averaged probabilities of images prepared for another network.

    Args:
        classifier: any number of members.
        preprocessing: how the images were prepared.
        classes: of the network that learns, in its order.

    Raises:
        UsageError: the classifier knows other classes.

    Source: Hinton, Vinyals & Dean, "Distilling the knowledge in a neural network", 2015; targets at
    the teacher's own calibrated temperature.
    """

    def __init__(
        self, classifier: Classifier, preprocessing: Preprocessing, classes: tuple[str, ...]
    ):
        self.members: list[Member] = [m for m in classifier.members if m.weight > 0]
        self.orders: list[Tensor] = [torch.from_numpy(m.order(classes)) for m in self.members]
        self.classifier: Classifier = classifier
        self.preprocessing: Preprocessing = preprocessing

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Give targets (N, K), float32, of normalised images (N, 3, h, w).

        Raises:
            RefusedError: one is not finite.
        """
        log_probs, kind = [], self.classifier.kind
        for member, order in zip(self.members, self.orders, strict=True):
            network: nn.Module = member.network.eval()
            logits = network(self._prepared(images, member.preprocessing)).float()
            own = tempered(kind.log_probs(logits), member.temperature, kind)
            log_probs.append(own[:, order.to(images.device)])
        mean = combine(log_probs, self.classifier.weights, self.classifier.mean, kind)
        targets = kind.probabilities(kind.logits(mean), self.classifier.temperature)
        if not bool(targets.isfinite().all()):
            why = "its weights are damaged, or too large for the numbers that they meet"
            raise RefusedError("the teacher's answer is not finite", why=why)
        return targets

    def _prepared(self, images: Tensor, wanted: Preprocessing) -> Tensor:
        """Prepare the same images as a member wants them: its colours, its size."""
        given = self.preprocessing
        if (wanted.mean, wanted.std) != (given.mean, given.std):
            mean, std, its_mean, its_std = (
                images.new_tensor(values)[:, None, None]
                for values in (given.mean, given.std, wanted.mean, wanted.std)
            )
            images = (images * std + mean - its_mean) / its_std
        if wanted.size != given.size:
            images = functional.interpolate(
                images, size=wanted.size, mode="bilinear", align_corners=False, antialias=True
            )
        return images
