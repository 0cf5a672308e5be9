"""Keys are the same for ever, and share nothing with their neighbours."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from classifiers import made
from polyak import keys, metrics, regularize, transfer
from polyak.augment import Policy, cutmix, geometry, mixup
from polyak.data import Images, find, scan, split
from polyak.data.loader import balanced_draw
from polyak.data.sources import digits
from polyak.export import check
from polyak.networks import Compact
from polyak.networks.preprocessing import Preprocessing
from polyak.race.surfaces import SURFACES
from polyak.transfer import planner
from polyak.verbs import augment as preview
from typed import image

SOURCE = Path(__file__).parent.parent / "src" / "polyak"


def test_the_numbers_of_today_are_the_numbers_for_ever():
    # the third was also computed with Python's integers, outside of this library
    expected = [2914704418774721303, 3045236523626065206, 5929714303057527168]
    assert keys.keys("order", 0, 1, np.arange(3)).tolist() == expected
    assert keys.key("dropout", 0, 7, 0) == 844785488011087559
    assert keys.permutation("order", 0, 0, 8).tolist() == [6, 7, 4, 3, 0, 1, 5, 2]
    expected = [0.351518277916101, 0.31849411730348454, 0.5367327397711184]
    assert keys.uniform("flip", 0, 0, np.arange(3)).tolist() == expected


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**40))
def test_one_at_a_time_is_all_at_once(seed, index):
    together = keys.keys("augment", seed, np.arange(index, index + 4))
    alone = [int(keys.keys("augment", seed, i)) for i in range(index, index + 4)]
    assert together.tolist() == alone
    assert keys.key("augment", seed, index) == alone[0] >> 1 < 2**63


def test_counters_broadcast():
    table = keys.keys("order", np.arange(3)[:, None], np.arange(4))
    assert table.shape == (3, 4)
    assert table[2, 3] == keys.keys("order", 2, 3)


def test_nothing_collides_between_purposes_seeds_and_places():
    found = [
        keys.keys(purpose, np.arange(30)[:, None, None], np.arange(30)[:, None], np.arange(30))
        for purpose in ("order", "flip", "drop", "")
    ]
    assert len(np.unique(found)) == 4 * 30**3


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_bit_of_a_counter_moves_half_of_the_key(place):
    counters = np.array([[5, 9, 1000]]) + np.zeros((4000, 1), np.int64)
    counters[:, 2] += np.arange(4000)
    other = counters.copy()
    other[:, place] ^= 1
    moved = keys.keys("order", *counters.T) ^ keys.keys("order", *other.T)
    bits = np.unpackbits(moved.view(np.uint8)).reshape(-1, 64).mean(axis=0)
    assert 0.45 < bits.min() <= bits.max() < 0.55


def test_uniform_numbers_are_uniform_and_do_not_remember():
    drawn = keys.uniform("flip", 0, np.arange(20)[:, None], np.arange(5000))
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 1e-3
    across = [np.corrcoef(drawn[i], drawn[i + 1])[0, 1] for i in range(19)]
    along = np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]
    assert np.abs(across).max() < 4 / 5000**0.5
    assert abs(along) < 4 / drawn.size**0.5


@given(st.integers(0, 10**6), st.integers(0, 100), st.integers(0, 300))
def test_permutations_permute(seed, epoch, n):
    assert sorted(keys.permutation("order", seed, epoch, n).tolist()) == list(range(n))


def test_permutations_are_fair_and_differ_by_epoch():
    orders = [tuple(keys.permutation("order", 3, epoch, 4)) for epoch in range(4800)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_numpy_counter_is_a_python_counter():
    assert keys.key("drop", np.int64(3), np.uint8(1)) == keys.key("drop", 3, 1)


@pytest.fixture
def drawn(monkeypatch):
    """Note the first draw of every purpose: how many counters it had, and its first word."""
    found, hashed = {}, keys.keys

    def noting(purpose, *counters):
        words = hashed(purpose, *counters)
        found.setdefault(purpose, (len(counters), int(np.ravel(words)[0])))
        return words

    monkeypatch.setattr(keys, "keys", noting)
    return found


def divided():
    found = scan(find("digits"))
    words = np.arange(2 * len(found), dtype=np.uint64).reshape(-1, 2)
    split(replace(found, digests=words), seed=1)


def learnt():
    planner.curve(np.eye(14, 2, dtype=np.float32), np.arange(14) % 2, 2, 1.0, seed=1)


def planned(text):
    Policy.parse(text).plan(1, 2, [3, 4], [(9, 9)] * 2, (9, 9), (0, 0, 0), (1, 1, 1))


def mixed(mix):
    mix(torch.rand(4, 3, 8, 8), torch.eye(4), seed=1, step=2, rank=3)


def monte_carlo():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5))
    regularize.monte_carlo(network, torch.ones(1, 2), samples=2, seed=1)


def extracted():
    images, page = (
        Images.of(np.zeros((4, 8, 8, 3), np.uint8)),
        Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0),
    )
    transfer.extract(Compact(2, (8, 8)).eval(), images, page, np.arange(8).reshape(4, 2))


def compared(folder):
    for number in range(3):
        image(number).save(folder / f"{number}.png")
    check.samples(made(), str(folder))


# who draws where no run is: for each purpose how many counters, and the first word
DRAWS = {
    "digits": (
        lambda _: digits._chosen(np.arange(8) % 2),
        {"digits test part": (1, 9809618071181936628)},
    ),
    "split": (lambda _: divided(), {"split": (3, 7314619488928565847)}),
    "flip": (
        lambda _: planned("flip(p=alternate)"),
        {
            "picture": (2, 2547790684844798844),
            "look": (3, 15848275143492730938),
            "augment": (2, 11537885163469716053),
            "augment 0 flip": (1, 16037886420650827365),
        },
    ),
    "rand": (
        lambda _: planned("flip | rand"),
        {"augment 1 rand choice 0": (1, 12050127148891879195)},
    ),
    "elastic": (lambda _: geometry.field(7, 2), {"field": (2, 8262793097478458083)}),
    "mixup": (
        lambda _: mixed(mixup),
        {
            "mixup weight": (3, 13167559792188764101),
            "mixup pairs 3": (3, 9785951468299138059),
        },
    ),
    "cutmix": (
        lambda _: mixed(cutmix),
        {
            "cutmix weight": (3, 17889854252710790595),
            "cutmix pairs 3": (3, 7129396397042069315),
            "cutmix place": (4, 17028923027928288114),
        },
    ),
    "preview": (
        lambda _: preview.chosen(scan(find("digits")), 1, seed=1),
        {"preview": (3, 12673102825643410020)},
    ),
    "monte carlo": (lambda _: monte_carlo(), {"monte carlo": (2, 15113672495949275702)}),
    "features": (lambda _: extracted(), {"features": (3, 5332883485460089681)}),
    "folds": (
        lambda _: transfer.folds(np.zeros(4, int), seed=1),
        {"folds": (2, 11379687935562454627)},
    ),
    "balance": (
        lambda _: balanced_draw(np.array([0, 0, 0, 1, 1, 1]), seed=1, epoch=0),
        {"balance": (4, 11278077143481727136)},
    ),
    "curve": (lambda _: learnt(), {"curve": (3, 6749218338756266320)}),
    "evaluate": (
        lambda _: metrics.evaluate(np.eye(2), np.arange(2), seed=1),
        {"bootstrap": (3, 14851259316059286347)},
    ),
    "export": (compared, {"export": (3, 8614300103172036115)}),
    "race": (
        lambda _: SURFACES["noise"].noisy_gradient(0, 0, step=2, seed=1),
        {"race noise": (3, 153183281293631579)},
    ),
}
# what a run draws besides: of member 1 of seed 0, at its first step
RUN = {
    "member": (2, 13292249943448000621),
    "init": (1, 1704944302447708235),
    "order": (3, 3908208955229903729),
    "picture": (2, 2957517676573916809),
    "look": (3, 15354424066122600852),
    "step": (3, 11845444910911223638),
    "cutmix place": (4, 16520421688005330437),
}


@pytest.mark.parametrize("name", DRAWS)
def test_what_is_drawn_today_is_drawn_for_ever(name, drawn, tmp_path):
    draw, golden = DRAWS[name]
    draw(tmp_path)
    assert {purpose: drawn[purpose] for purpose in golden} == golden


def test_what_a_run_draws_today_it_draws_for_ever(train, tiny_folder, drawn):
    assert train(tiny_folder, "--member", "1", "--mix", "cutmix", "--dropout", "0.5")[0] == 0
    assert {purpose: drawn[purpose] for purpose in RUN} == RUN


def entry(purpose):
    """Find the table's name of a purpose: "augment 0 flip" is "augment {place} {operation}"."""
    (found,) = [
        name
        for name in keys.PURPOSES
        if re.fullmatch(re.sub(r"{\w+}", r"\\S+", name.replace("{number}", ".+")), purpose)
    ]
    return found


def test_the_table_counts_what_is_counted():
    golden = {name: count for _, one in DRAWS.values() for name, (count, _) in one.items()}
    golden |= {name: count for name, (count, _) in RUN.items()}
    assert {entry(name) for name in golden} == set(keys.PURPOSES)
    said = {name: len(keys.PURPOSES[entry(name)].counters) for name in golden}
    assert said == golden


def written(tree):
    """List the purposes that a module's text draws under, what is filled in as {}."""
    names = {"key", "keys", "permutation", "uniform"}
    texts = {  # purpose = f"..." further up
        node.targets[0].id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = node.func
        if isinstance(called, ast.Attribute):
            if not (isinstance(called.value, ast.Name) and called.value.id == "keys"):
                continue
            called = ast.Name(called.attr)
        if isinstance(called, ast.Name) and called.id in names:
            yield filled(node.args[0], texts)


def filled(node, texts):
    if isinstance(node, ast.Name):
        return filled(texts[node.id], texts) if node.id in texts else "{}"
    if isinstance(node, ast.FormattedValue):
        return filled(node.value, texts)
    if isinstance(node, ast.JoinedStr):
        return "".join(filled(part, texts) for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else "{}"


def test_every_purpose_in_use_is_in_the_table_and_no_other():
    used = {
        purpose
        for file in sorted(SOURCE.rglob("*.py"))
        if "keys" in (text := file.read_text()) and file.name != "keys.py"
        for purpose in written(ast.parse(text))
    }
    assert used == {re.sub(r"{\w+}", "{}", name) for name in keys.PURPOSES}


def test_a_purpose_is_seen_however_it_is_written():
    text = """
from polyak.keys import uniform
purpose = f"augment {place} {operation.name}"
keys.keys(purpose, 1), keys.key("init", 2), uniform("field", 3)
keys.permutation(f"{mix} pairs {rank}", 4), keys.uniform(f"{purpose} {k}", 5), table.keys()
"""
    found = ["augment {} {}", "init", "field", "{} pairs {}", "augment {} {} {}"]
    assert sorted(written(ast.parse(text))) == sorted(found)
