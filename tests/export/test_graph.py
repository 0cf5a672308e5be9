"""One module says what a classifier says, whatever its members are."""

import numpy as np
import pytest
import torch

from classifiers import CLASSES, made, mixed, some_images
from polyak.data import Images
from polyak.errors import UsageError
from polyak.export.check import said_bare, said_of
from polyak.export.graph import Graph
from polyak.metrics import softmax
from polyak.model import Classifier

IMAGES = Images.of(some_images(20))


def runner(graph):
    return lambda batch: graph(torch.from_numpy(batch)).detach().numpy()


@pytest.mark.parametrize(
    "one",
    [
        made(),
        made(temperature=2.5, views="flip"),
        made("resnet10t", 32, fraction=0.875, views="ten"),
        mixed(),
        mixed("logits"),
        Classifier([made(classes=CLASSES[::-1]).members[0]], CLASSES),
    ],
    ids=["plain", "two views", "ten views", "members", "mean of logits", "other order"],
)
def test_a_graph_says_what_the_classifier_says(one):
    said, _ = one.probabilities(IMAGES)
    assert said.max(1).std() > 0.01  # answers that differ, or nothing would be shown
    assert np.abs(said_of(IMAGES, runner(Graph(one))) - said).max() < 1e-5


def test_a_bare_graph_gives_logits_of_prepared_images():
    members = [made(seed=s, temperature=0.5 + s).handed()[0] for s in range(3)]
    one = Classifier(members, CLASSES, 1.5, "flip")
    said, _ = one.probabilities(IMAGES, views="one")
    logits = said_bare(one, IMAGES, runner(Graph(one, bare=True)))
    assert np.abs(softmax(logits) - said).max() < 1e-5
    with pytest.raises(UsageError, match="share no input"):
        Graph(mixed(), bare=True)
