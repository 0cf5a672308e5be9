"""The choice: measured where nothing chose, and written as a model that predicts the same."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from digit_networks import member
from polyak import load, metrics
from polyak.ensemble import copied
from polyak.selection import RULE, CandidatePool, WeightKind, select
from polyak.selection.candidates import best_snapshot, candidate, ensembles, fine_tuned, soups


def every_candidate(pool):
    return [
        candidate(pool, "average", WeightKind.AVERAGE, ("a",)),
        candidate(pool, "weights", WeightKind.WEIGHTS, ("b",)),
        *best_snapshot(pool, {"b": 0.5, "c": 1.0}),
        *soups(pool, ["b", "c"]),
        *ensembles(pool, ["a", "b", "c"], "snapshots"),
    ]


def header(path):
    with safe_open(path, "pt") as file:
        names = {name.split("/")[0] for name in file.keys()}
        return json.loads(file.metadata()["polyak"]), names


def forced(found, name):
    """The candidates, of which only one may be chosen."""
    from dataclasses import replace

    return [replace(one, eligible=one.name == name) for one in found]


def test_the_table_measures_all_on_test_and_tells_the_price(pool, parts):
    chosen = select(pool, every_candidate(pool), views="flip", every=True)
    rows = {(row["name"], row["views"]): row for row in chosen.as_json()["table"] if "n" in row}
    assert rows["3 snapshots", "one"]["passes"] == 3 and rows["3 snapshots", "flip"]["passes"] == 6
    assert rows["best snapshot", "one"]["share"] in (0.5, 1.0)
    assert {row["split"] for row in rows.values()} == {"test"}
    assert [key for key, row in rows.items() if row["chosen"]] == [(chosen.chosen.name, "flip")]
    b = pool.predictions(["b"], "test", "one", pool.temperature(["b"], "one")).probabilities
    want = metrics.evaluate(b, parts["test"].dataset.labels).as_json()
    assert {name: rows["weights", "one"][name] for name in want} == want
    plain = select(pool, every_candidate(pool), views="flip")
    seen = [row.as_json()["views"] for row in plain.rows if "views" in row.as_json()]
    assert seen.count("flip") == 1  # of the chosen one only


def test_without_test_it_is_measured_on_what_chose(pool, batches, parts):
    alone = CandidatePool({"val": parts["val"]}, batches)
    alone.add("a", copied(member(0).network), member(0))
    chosen = select(alone, [candidate(alone, "weights", WeightKind.WEIGHTS, ("a",))])
    assert chosen.evaluation["split"] == "val" and chosen.rule == RULE
    assert chosen.rows[0].split == "val"
    matrix = metrics.confusion_matrix(
        chosen.predictions["val"].probabilities.argmax(1), parts["val"].dataset.labels, 10
    )
    assert chosen.last.figures.confusions[0].images == (matrix - np.diag(np.diag(matrix))).max()


@pytest.mark.parametrize("name", ["average", "best snapshot", "3 snapshots"])
def test_the_file_predicts_what_the_selection_did(pool, parts, tmp_path, name):
    chosen = select(pool, forced(every_candidate(pool), name), views="flip")
    assert chosen.chosen.name == name
    chosen.save(tmp_path / "model.safetensors", {"steps": 7})
    found, _ = load(tmp_path / "model.safetensors").probabilities(parts["test"].images)
    assert np.allclose(found, chosen.predictions["test"].probabilities, atol=1e-6)
    told, _ = header(tmp_path / "model.safetensors")
    assert told["steps"] == 7 and told["evaluation"] == chosen.evaluation
    assert told["table"] == json.loads(json.dumps(chosen.as_json()["table"]))


def test_the_best_of_each_kind_travels(pool, tmp_path):
    path = tmp_path / "model.safetensors"
    found = [one for one in every_candidate(pool) if not one.refused]
    select(pool, found).save(path)
    told, names = header(path)
    assert names == {str(one.kind) for one in found}
    for one in found:
        if one.kind in (WeightKind.AVERAGE, WeightKind.WEIGHTS):
            state = load(path, kind=one.kind).network.state_dict()
            assert torch.equal(state["head.weight"], pool.states[one.states[0]]["head.weight"])
    assert len(told["ensemble"]["members"]) >= 2


@pytest.mark.parametrize("wins", [True, False])
def test_the_probe_travels_only_where_it_predicts(pool, tmp_path, wins):
    probe = copied(member(3).network)
    found = [candidate(pool, "weights", WeightKind.WEIGHTS, ("a",))]
    found += fine_tuned(pool, probe, ["a"], member(0))
    assert {one.name for one in found} == {"weights", "halfway", "probe", "with its probe"}
    halfway = (pool.states["a"]["head.weight"] + probe["head.weight"]) / 2
    assert torch.allclose(pool.states["halfway"]["head.weight"], halfway)
    select(pool, forced(found, "probe" if wins else "weights")).save(tmp_path / "m.safetensors")
    told, names = header(tmp_path / "m.safetensors")
    assert ("start" in names) == wins and told["chosen"] == ("start" if wins else "weights")


@pytest.mark.parametrize("name", ["best member", "2 members", "soup"])
def test_all_finished_models_travel(parts, batches, tmp_path, name):
    pool = CandidatePool(parts, batches, finished=True)
    for seed in range(2):
        one = member(seed, temperature=0.5 + seed)
        pool.add(f"member {seed}", copied(one.network), one)
    pool.average("soup", pool.members)
    found = [
        candidate(pool, "best member", WeightKind.MEMBERS, ("member 1",)),
        candidate(pool, "soup", WeightKind.SOUP, ("soup",)),
        *ensembles(pool, pool.members, "members"),
    ]
    chosen = select(pool, forced(found, name))
    chosen.save(tmp_path / "m.safetensors")
    told, names = header(tmp_path / "m.safetensors")
    weights = [one["weight"] for one in told["ensemble"]["members"]]
    assert weights == ([0.0, 1.0] if name == "best member" else [1.0, 1.0])
    assert names == ({"soup", "members"} if name == "soup" else {"members"})
    loaded, _ = load(tmp_path / "m.safetensors").probabilities(parts["test"].images)
    assert np.allclose(loaded, chosen.predictions["test"].probabilities, atol=1e-6)


def test_predictions_are_written_for_people_and_programs(pool, parts, tmp_path):
    chosen = select(pool, every_candidate(pool)[:1])
    chosen.write_predictions(tmp_path)
    lines = (tmp_path / "test.csv").read_text().splitlines()
    assert lines[0] == "path,label,predicted,probability" and len(lines) == 61
    with safe_open(tmp_path / "val.safetensors", "np") as file:
        assert np.array_equal(file.get_tensor("labels"), parts["val"].dataset.labels)
        assert np.allclose(file.get_tensor("probabilities").sum(1), 1, atol=1e-5)
