"""Do sets of 95 % hold the true class of 95 % of new images? Twenty random splits of each set.

    python benchmarks/study_coverage.py DATA --out benchmarks/results/coverage.json

DATA holds clothing10, eurosat10, magnetic_tile6 and cifar10. Features of up to 2,000 images are
extracted once; each split fits a probe on four fifths, which cross-validation calibrates and which
sets its own threshold, as `polyak train` does, and measures the sets on the rest. `tiles, as they
are` takes the data's own test images, whose exposures no training image has.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from polyak import keys, machine, transfer
from polyak.data import Images, find, scan
from polyak.decoding.decode import min_size_for
from polyak.ensemble import tempered
from polyak.metrics import Conformal, Coverage
from polyak.networks import pretrained
from polyak.networks.build import build
from polyak.networks.preprocessing import preprocessing

SETS = ("clothing10", "eurosat10", "cifar10", "magnetic_tile6")
MOST, SPLITS, LEVEL, SIDE = 2000, 20, 0.95, 96


def features(source: Path):
    """Compute features once: (float32 (n, D), widths, data)."""
    data = scan(find(source))
    chosen = np.sort(np.argsort(keys.keys("bench", 0, np.arange(len(data))))[:MOST])
    data = data.take(chosen)
    one = pretrained.registry()[0]
    network = build(one.model, 2)
    one.load(network)
    wanted = preprocessing(network, one.metadata, size=(SIDE, SIDE))
    images = Images.open(data, None, 0, min_size=min_size_for(wanted.size))
    settings = transfer.Settings(threads=2, folder=Path(tempfile.gettempdir()) / "polyak-coverage")
    found = transfer.extract(network, images, wanted, data.digests, settings=settings)
    return found.table, list(found.widths.values()), data


def measured(x, widths, data, train: np.ndarray, test: np.ndarray) -> Coverage:
    """Fit, calibrate, make sets, and measure them."""
    count, labels = len(data.classes), data.labels
    probe = transfer.probe(x[train], labels[train], count, widths=widths)
    seen = ~np.isnan(probe.log_probs).any(1)
    known, kind = labels[train][seen], data.kind
    temperature = kind.temperature(probe.log_probs[seen], known)
    odds = kind.probabilities(probe.log_probs[seen], temperature)
    conformal = Conformal.of(odds, known, "cross-validation")
    logits = torch.from_numpy(probe.logits(x[test])).log_softmax(1).numpy()
    sets = conformal.sets(np.exp(tempered(logits, temperature)), LEVEL)
    return Coverage.of(sets, labels[test], LEVEL, data.classes)


def case(x, widths, data) -> dict:
    """Measure all random splits of a set."""
    found = []
    for seed in range(SPLITS):
        order = np.argsort(keys.keys("bench", 1 + seed, np.arange(len(data))))
        cut = len(order) * 4 // 5
        found.append(measured(x, widths, data, order[:cut], order[cut:]))
    covered = np.array([one.covered.value for one in found])
    worst = [min(each.covered for each in one.by_class.values()) for one in found]
    return {
        "n": len(data), "splits": SPLITS, "coverage": float(covered.mean()),
        "spread": float(covered.std(ddof=1)), "lowest": float(covered.min()),
        "size": float(np.mean([one.size for one in found])),
        "worst class": float(np.mean(worst)),
    }  # fmt: skip


def main(options) -> None:
    """Measure every set."""
    results: dict = {"machine": machine.describe(), "level": LEVEL, "sets": {}}
    for name in SETS:
        x, widths, data = features(options.data / name)
        results["sets"][name] = case(x, widths, data)
        if name == "magnetic_tile6":
            train, test = (np.flatnonzero(data.splits == part) for part in ("train", "test"))
            one = measured(x, widths, data, train, test)
            results["sets"]["tiles, as they are"] = {
                "n": len(data), "splits": 1, "coverage": one.covered.value, "size": one.size,
            }  # fmt: skip
        print(name, results["sets"][name], flush=True)
        options.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/coverage.json")
    main(parser.parse_args())
