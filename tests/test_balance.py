"""Classes of few images count as much as those of many, where the user asks for it."""

import shutil
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

import jobs
from polyak import cli, load
from polyak.data.loader import balanced_draw
from polyak.errors import DataError, UsageError
from polyak.metrics import fit_temperature
from polyak.recipe import make
from polyak.targets import BALANCED, SINGLE_LABEL
from polyak.training.step import Targets
from polyak.verbs.predict import read_shares

LABELS = np.repeat([0, 1, 2], [60, 25, 5])


@pytest.mark.parametrize(("seed", "epoch"), product(range(3), (0, 1, 7)))
def test_every_class_is_drawn_alike(seed, epoch):
    drawn = balanced_draw(LABELS, seed, epoch)
    assert len(drawn) == 90 and np.bincount(LABELS[drawn]).tolist() == [30, 30, 30]
    assert (np.bincount(drawn[LABELS[drawn] == 2], minlength=90)[85:] == 6).all()
    assert np.array_equal(drawn, balanced_draw(LABELS, seed, epoch))


def test_a_large_class_is_seen_whole_in_some_epochs():
    first, second = (set(balanced_draw(LABELS, 0, epoch)) for epoch in (0, 1))
    assert len({i for i in first | second if i < 60}) == 60


def test_what_does_not_divide_goes_round():
    labels = np.repeat([0, 1, 2], [5, 3, 3])
    counts = sum(np.bincount(labels[balanced_draw(labels, 0, epoch)]) for epoch in range(3))
    assert counts.tolist() == [11, 11, 11]


def test_weights_do_what_copies_of_images_do():
    """Three classes of 4, 2 and 1 images: weighted, or each copied to four."""
    torch.manual_seed(0)
    logits, labels = torch.randn(7, 3), torch.tensor([0, 0, 0, 0, 1, 1, 2])
    copies = torch.tensor([0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6])
    share = torch.tensor([4, 2, 1]) / 7
    weighted = Targets(3, weights=1 / (3 * share))
    for targets, smoothing in product((labels, nn.functional.one_hot(labels).float()), (0.0,)):
        loss = weighted.loss(logits, targets)
        plain = SINGLE_LABEL.loss(logits[copies], targets[copies], smoothing)
        assert loss.item() == pytest.approx(plain.item(), rel=1e-5)


def test_logits_that_know_the_shares_leave_nothing_for_the_bias_to_learn():
    """Of images that say nothing the classifier learns that all classes are alike."""
    share = torch.tensor([0.7, 0.2, 0.1])
    bias = torch.tensor([1.0, 0.0, -1.0], requires_grad=True)
    targets = Targets(3, offset=share.log())
    labels = torch.arange(3).repeat_interleave(torch.tensor([70, 20, 10]))
    optimizer = torch.optim.LBFGS([bias], max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = targets.loss(bias.expand(100, 3), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert bias.detach().softmax(0).numpy() == pytest.approx(np.full(3, 1 / 3), abs=1e-3)


def test_the_balanced_kind_is_the_plain_one_on_copies():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(7, 3)), np.array([0, 0, 0, 0, 1, 1, 2])
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    copies = [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6]
    assert BALANCED.score(logs, labels) == pytest.approx(
        SINGLE_LABEL.score(logs[copies], labels[copies])
    )
    free = {"prior_std": np.inf}
    weights = np.array([4 / 4] * 4 + [4 / 2] * 2 + [4.0]) * 7 / 12
    assert fit_temperature(logs, labels, weights=weights, **free) == pytest.approx(
        fit_temperature(logs[copies], labels[copies], **free), rel=1e-6
    )


@pytest.fixture
def uneven(tiny_folder, tmp_path, monkeypatch):
    """Two classes that can hardly be told apart, 24 images of one, 6 of the other."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "uneven"
    for label, name, numbers in ((0, "common", range(24)), (1, "rare", range(6))):
        (folder / name).mkdir(parents=True)
        for i in numbers:
            draw = np.random.default_rng([label, i])
            from PIL import Image

            pixels = draw.integers(0, 200, (32, 32, 3), np.uint8) + np.uint8(6 * label)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    shutil.copytree(folder, tmp_path / "again")

    def recipe(**more):
        fixed = {"size": 32, "val": 0.2, "threads": 1, "out": str(tmp_path / "runs"), "name": "job"}
        return make(data=str(folder), weights="tf_efficientnet_lite0", **(fixed | more))

    return recipe


def answers(tmp_path, recipe, name, **more):
    list(jobs.train(recipe(name=name, **more)))
    return load(tmp_path / "runs" / name)


def test_a_balanced_probe_at_the_old_shares_is_the_plain_probe(uneven, tmp_path):
    plain = answers(tmp_path, uneven, "plain", transfer="linear")
    other = answers(tmp_path, uneven, "even", transfer="linear", balance="logits")
    assert plain.header["prior"][0] > 0.7 and other.header["prior"] == [0.5, 0.5]
    images = np.random.default_rng(5).integers(0, 255, (20, 32, 32, 3), np.uint8)
    plain.temperature = other.temperature = 1.0
    shares = dict(zip(plain.classes, plain.header["prior"], strict=True))
    expected = plain.predict(images).probabilities
    found = other.with_prior(shares).predict(images).probabilities
    np.testing.assert_allclose(found, expected, atol=2e-5)
    even = other.predict(images).probabilities
    assert (even[:, 1] > expected[:, 1]).all()  # the rare class is likelier now


@pytest.mark.parametrize("how", ["weights", "logits", "sampling"])
def test_training_finds_the_rare_class_and_resumes_exactly(uneven, tmp_path, how):
    more = {"transfer": "few", "epochs": 2, "balance": how, "save_every": 0.0, "views": "one"}
    more["precision"] = "float32"  # which of two is faster is measured anew by every new run
    whole = jobs.run(uneven(**more))
    assert whole["evaluation"]["balanced"]["value"] >= 0
    before = jobs.results(tmp_path / "runs/job")
    shutil.rmtree(tmp_path / "runs")
    jobs.steps(uneven(**more), 3)
    list(jobs.train(uneven(**more), resume=True))
    assert jobs.results(tmp_path / "runs/job") == before


def test_shares_are_read_from_a_table(uneven, tmp_path, capsys):
    answers(tmp_path, uneven, "plain")
    table = tmp_path / "shares.csv"
    table.write_text("class,share\ncommon,1\nrare,30\n")
    run, images = str(tmp_path / "runs/plain"), str(tmp_path / "again")
    assert cli.main(["predict", run, images, "--format", "csv"]) == 0
    first = capsys.readouterr().out
    assert cli.main(["predict", run, images, "--format", "csv", "--prior", str(table)]) == 0
    second = capsys.readouterr().out
    assert first.count(",rare,") < second.count(",rare,")
    assert cli.main(["predict", run, images, "--prior", str(table), "--sets", "0.9"]) == 64


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,share\na,1\n", "begin the file with the line class,share"),
        ("class,share\na,much\n", "this is no share"),
        ("class,share\na,1\na,2\n", "a class stands twice"),
    ],
)
def test_a_table_of_no_shares_is_refused(tmp_path, text, told):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        read_shares(tmp_path / "s.csv")


@pytest.mark.parametrize(
    "shares", [{"common": 1}, {"common": 1, "rare": 1, "new": 1}, {"common": 0, "rare": 1},
               {"common": float("nan"), "rare": 1}],
)  # fmt: skip
def test_shares_fit_the_model(uneven, tmp_path, shares):
    model = answers(tmp_path, uneven, "plain")
    with pytest.raises(UsageError, match="shares do not fit"):
        model.with_prior(shares)


@pytest.mark.parametrize("way", ["logits", "weights"])
def test_smoothing_favours_no_rare_class(way):
    """Nothing but its label is known of an image: the best answer is each image's own class."""
    labels = torch.tensor([0] * 99 + [1])
    share = torch.tensor([0.99, 0.01])
    more = {"offset": share.log()} if way == "logits" else {"weights": 1 / (2 * share)}
    targets = Targets(2, label_smoothing=0.2, **more)
    logits = torch.zeros(100, 2, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], lr=1.0, max_iter=500, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = targets.loss(logits, labels)
        value.backward()
        return value

    optimizer.step(loss)
    assert (logits.argmax(1) == labels).all()


@pytest.mark.parametrize("way", ["logits", "weights"])
def test_smoothed_or_not_the_middle_stays_the_middle(way):
    """Images that say nothing of their class are answered by neither, however uneven they are."""
    labels = torch.tensor([0] * 90 + [1] * 10)
    share = torch.tensor([0.9, 0.1])
    more = {"offset": share.log()} if way == "logits" else {"weights": 1 / (2 * share)}
    for smoothing in (0.0, 0.2):
        targets = Targets(2, label_smoothing=smoothing, **more)
        logits = torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

        def loss(targets=targets, logits=logits, optimizer=optimizer):
            optimizer.zero_grad()
            value = targets.loss(logits.expand(100, 2), labels)
            value.backward()
            return value

        optimizer.step(loss)
        assert abs(float((logits[0] - logits[1]).detach())) < 1e-3
