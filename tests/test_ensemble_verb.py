"""`polyak ensemble`: any finished models of the same classes become one file."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from jobs import train
from polyak import tensor_file
from polyak.cli import main
from polyak.data.images import Images
from polyak.ensemble import soup
from polyak.errors import RefusedError, UsageError
from polyak.model import Classifier, Member, join, load, save
from polyak.model.held_out import LabelledData, held_out
from polyak.model.soups import SoupBuilder
from polyak.networks.build import build, spec
from polyak.networks.preprocessing import Preprocessing
from polyak.recipe import make

CLASSES = ("a", "b", "c")


def classifier(name="compact", size=8, classes=CLASSES, temperature=1.0, seed=0, **options):
    torch.manual_seed(seed)
    if name == "compact":
        options |= {"size": (size, size), "widths": (4, 4)}
    network = build(name, len(classes), **options)
    if name == "compact":
        network.whiten(torch.rand(64, 3, size, size))
    page = Preprocessing((size, size), (0.4, 0.5, 0.6), (0.2, 0.2, 0.3), 1.0)
    made = spec(name, len(classes), **options)
    return Classifier([Member(network, made, classes, page)], classes, temperature, "flip")


def write(path, one):
    save(path, {"weights": one.members[0].network.state_dict()}, one, "weights")
    return str(path)


@pytest.fixture
def pictures():
    return Images.of(np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8))


@pytest.fixture
def two(tmp_path):
    """A small compact, and a ResNet of another size that orders the classes otherwise."""
    first = classifier(temperature=1.5)
    second = classifier("resnet10t", 32, ("c", "a", "b"), temperature=0.7, seed=1)
    return first, second, [write(tmp_path / f"{n}.st", m) for n, m in enumerate((first, second))]


def test_architectures_sizes_and_orders_combine(two, pictures, tmp_path):
    first, second, files = two
    out = tmp_path / "joined.st"
    assert main(["ensemble", *files, "--out", str(out)]) == 0
    said = load(out).probabilities(pictures)[0]
    a, b = first.probabilities(pictures)[0], second.probabilities(pictures)[0]
    want = (a + b[:, [1, 2, 0]]) / 2  # second's order is c, a, b
    assert np.allclose(said, want, atol=1e-6)
    assert load(out).classes == CLASSES


def test_one_member_is_that_member_to_the_bit(two, pictures, tmp_path):
    first, _, files = two
    assert main(["ensemble", files[0], "--out", str(tmp_path / "one.st")]) == 0
    assert np.array_equal(
        load(tmp_path / "one.st").probabilities(pictures)[0], first.probabilities(pictures)[0]
    )


def test_a_file_of_members_goes_round(two, pictures, tmp_path):
    joined = join(list(two[:2]))
    save(tmp_path / "a.st", {}, joined, "members")
    loaded = load(tmp_path / "a.st")
    assert np.array_equal(loaded.probabilities(pictures)[0], joined.probabilities(pictures)[0])
    save(tmp_path / "b.st", {}, loaded, "members")
    assert load(tmp_path / "b.st").header == loaded.header
    again = join([loaded])
    assert np.array_equal(again.probabilities(pictures)[0], joined.probabilities(pictures)[0])


def test_other_classes_are_refused_in_one_line(two, tmp_path, capsys):
    other = write(tmp_path / "other.st", classifier(classes=("a", "b", "dog")))
    assert main(["ensemble", two[2][0], other, "--out", str(tmp_path / "no.st")]) == 64
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "same classes" in error
    assert not (tmp_path / "no.st").exists()


def test_members_are_measured_and_selected(two, tmp_path, capsys):
    for label in CLASSES:
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(4):
            noise = np.random.default_rng([ord(label), number])
            pixels = noise.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{number}.png")
    out = str(tmp_path / "fit.st")
    data = str(tmp_path / "data")
    assert main(["ensemble", *two[2], "--out", out, "--data", data, "--fit"]) == 0
    said = capsys.readouterr().out
    assert "member 2" in said and "together" in said and "chosen by these" in said
    assert main(["ensemble", *two[2], "--out", out, "--fit"]) == 64


def test_images_are_prepared_once_for_members_that_want_them_alike(monkeypatch, pictures):
    from polyak import inference

    made = []
    loader = inference.Loader
    monkeypatch.setattr(
        inference, "Loader", lambda *args, **how: made.append(1) or loader(*args, **how)
    )
    alike = join([classifier(seed=seed) for seed in range(3)])
    logs, _ = alike.log_probabilities(pictures)
    assert logs.shape == (3, 6, 3) and len(made) == 2  # two views
    join([classifier(), classifier(size=16)]).log_probabilities(pictures)
    assert len(made) == 2 + 4


def test_members_that_look_alike_come_as_one_network(pictures):
    joined = join([classifier(seed=seed, temperature=1 + seed) for seed in range(2)])
    x = torch.rand(4, 3, 8, 8)
    with torch.no_grad():
        odds = [(m.network(x) / m.temperature).softmax(1) for m in joined.members]
        assert torch.allclose(joined.network(x).softmax(1), (odds[0] + odds[1]) / 2, atol=1e-6)


def break_tensors(path, change):
    """Write a file again with a change, and the hash that belongs to it."""
    with tensor_file.opened(path) as stored:
        header, tensors = stored.facts, {name: stored.tensor(name) for name in stored.shapes}
    change(header, tensors)
    tensor_file.write(path, tensors, header)


def drop_member(header, tensors):
    for name in [name for name in tensors if name.startswith("members/1/")]:
        del tensors[name]


def not_finite(header, tensors):
    tensors["members/1/fc.weight"] = tensors["members/1/fc.weight"] * torch.nan


def wrong_shape(header, tensors):
    tensors["members/0/head.weight"] = torch.zeros(3, 5)


def changed(**facts):
    def change(header, tensors):
        header["ensemble"]["members"][0] |= facts

    return change


def no_list(header, tensors):
    header["ensemble"]["members"] = {}


def no_ensemble(header, tensors):
    del header["ensemble"]


@pytest.mark.parametrize(
    "change",
    [
        drop_member, not_finite, wrong_shape, no_list, no_ensemble,
        changed(weight=-1), changed(weight=float("nan")), changed(temperature=0),
        changed(classes=["a", "b"]), changed(classes=["a", "b", "x"]), changed(views="all"),
        changed(network={"name": "os.system", "classes": 3, "options": {}}),
        changed(preprocessing={}), changed(classes=["a", "b", "b"]),
    ],
)  # fmt: skip
def test_hostile_files_are_refused(two, tmp_path, change, capsys):
    file = tmp_path / "joined.st"
    save(file, {}, join(list(two[:2])), "members")
    break_tensors(file, change)
    with pytest.raises(RefusedError) as refused:
        load(file)
    assert refused.value.exit_code == 76


def test_members_of_no_weight_are_refused(two, tmp_path):
    save(tmp_path / "j.st", {}, join(list(two[:2])), "members")

    def weightless(header, tensors):
        for member in header["ensemble"]["members"]:
            member["weight"] = 0

    break_tensors(tmp_path / "j.st", weightless)
    with pytest.raises(RefusedError, match="sum to 0"):
        load(tmp_path / "j.st")


def test_a_file_claims_the_least_format_that_reads_it(two, tmp_path):
    """An older polyak goes on reading files of one network, and says why it refuses others."""

    def formatted(path):
        with safe_open(path, "pt") as stored:
            return json.loads(stored.metadata()["polyak"])["format"]

    assert formatted(two[2][0]) == 1
    save(tmp_path / "j.st", {}, join(list(two[:2])), "members")
    assert formatted(tmp_path / "j.st") == 2
    soup = {"soup": two[0].network.state_dict()}
    save(tmp_path / "s.st", soup, two[0], "soup")
    assert formatted(tmp_path / "s.st") == 2 and load(tmp_path / "s.st").temperature == 1.5
    for kind in ("average", "members", "sop"):
        with pytest.raises(UsageError, match=f"--kind {kind}: this file has soup"):
            load(tmp_path / "s.st", kind=kind)


@pytest.fixture
def trained(tmp_path_factory):
    """Two short runs that go on from one run, that run, and one from other weights, by name."""
    folder = tmp_path_factory.mktemp("soups")
    how = {
        "data": "digits",
        "widths": (8, 16),
        "out": str(folder),
        "views": "one",
        "threads": 1,
        "precision": "float32",
    }
    *_, end = train(make(**how, epochs=3, name="first"))
    near = {"weights": end["model"], "transfer": "all", "epochs": 1}
    few = near | {"transfer": "few", "freeze_norms": False}
    runs = {
        "a": near | {"seed": 1}, "b": near | {"seed": 2}, "far": {"epochs": 3, "member": 1},
        "c": few | {"seed": 1}, "d": few | {"seed": 2},
    }  # fmt: skip
    for name, more in runs.items():
        list(train(make(**how, **more, name=name)))
    return {name: str(folder / name) for name in ("first", *runs)}


def test_a_soup_is_the_mean_of_weights_and_one_pass(trained, tmp_path, capsys):
    out, names = tmp_path / "soup.st", [trained["a"], trained["b"]]
    assert main(["ensemble", *names, "--soup", "uniform", "--data", "digits", "--split", "test",
                 "--out", str(out)]) == 0  # fmt: skip
    said, built = capsys.readouterr().out, load(out)
    assert "one forward pass" in said and "members 1, 2" in said
    assert len(built.members) == 1
    parts = [load(name).network.state_dict() for name in names]
    for key, value in built.network.state_dict().items():
        if value.is_floating_point() and "running" not in key:
            mean = (parts[0][key].double() + parts[1][key].double()) / 2
            torch.testing.assert_close(value.double(), mean, rtol=0, atol=1e-6)
    found = built.evaluate("digits", "test")
    assert found.accuracy.value > min(load(n).evaluate("digits", "test").accuracy.value
                                      for n in names) - 0.02  # fmt: skip


def test_statistics_that_members_did_not_learn_stay_in_their_soup(trained):
    whole = join([load(trained[one], kind="weights") for one in "cd"])
    found = held_out(LabelledData("digits", "test"), whole.classes, whole.files)
    training, judges = found.training, found.dataset
    builder = SoupBuilder(whole, training, judges)
    builder.evaluate(soup(builder.states))
    (one, other), mixed = builder.states, builder.network.state_dict()
    means = [name for name in mixed if name.endswith("running_mean")]
    shared = [name for name in means if torch.equal(one[name], other[name])]
    assert shared and set(shared) != set(means)  # of the frozen stages, and of those that learnt
    assert all(torch.equal(mixed[name], one[name]) for name in shared)
    assert not any(torch.equal(mixed[name], one[name]) for name in set(means) - set(shared))


def test_what_lies_in_another_basin_makes_no_soup(trained, tmp_path, capsys):
    a, far = trained["first"], trained["far"]
    out = tmp_path / "soup.st"
    how = ["--data", "digits", "--split", "test", "--out", str(out)]
    assert main(["ensemble", a, far, "--soup", "uniform", *how]) == 64
    assert "not in one basin" in capsys.readouterr().err and not out.exists()
    assert main(["ensemble", a, far, "--soup", "greedy", *how]) == 0  # keeps the better one
    assert "ingredients: members" in capsys.readouterr().out


def test_a_soup_wants_images_and_one_kind(two, trained, capsys, tmp_path):
    _, _, files = two
    out = str(tmp_path / "x.st")
    assert main(["ensemble", *files, "--soup", "uniform", "--out", out]) == 64
    assert "add --data" in capsys.readouterr().err
    with pytest.raises(UsageError, match="another spec"):
        SoupBuilder(
            join([load(trained["a"]), classifier("resnet10t", 32, tuple("0123456789"))]), None, None
        )
