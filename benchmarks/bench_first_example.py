"""The README's first example beside the same idea by hand: one pass of features, one regression.

    python benchmarks/bench_first_example.py HYMENOPTERA --weights mobilenetv2_100.safetensors

By hand is what timm, torchvision and scikit-learn advise: ImageFolder, resize 256, centre crop 224,
batches of 16 (of 32 it took longer; 0, 1 or 2 loader processes took the same), the network in
evaluation mode, logistic regression (C = 0.1, standardised); it writes no model file and no page,
and nothing is cross-validated. All are whole processes in turns: polyak with nothing remembered,
polyak with its features remembered, by hand.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

from whole import keep, timed

from polyak import machine

BY_HAND = """
import sys, json
import timm, torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torchvision import datasets, transforms as T
norm = T.Normalize((0.5,) * 3, (0.5,) * 3)
centre = T.Compose([T.Resize(256), T.CenterCrop(224), T.ToTensor(), norm])
network = timm.create_model("mobilenetv2_100", num_classes=1000)
network.load_state_dict({k: v.float() for k, v in load_file(sys.argv[2]).items()})
network.reset_classifier(0)
network.eval()
def features(part):
    data = datasets.ImageFolder(f"{sys.argv[1]}/{part}", centre)
    rows, labels = [], []
    with torch.inference_mode():
        for images, answers in torch.utils.data.DataLoader(data, 16, num_workers=2):
            rows.append(network(images))
            labels.append(answers)
    return torch.cat(rows).numpy(), torch.cat(labels).numpy()
train, val = features("train"), features("val")
found = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(*train)
print(json.dumps({"accuracy": found.score(*val)}))
"""


def round_of(options, folder: Path) -> dict[str, tuple[float, float]]:
    """Let each contender have its turn: (seconds, accuracy) by name."""
    environment = os.environ | {"XDG_CACHE_HOME": str(folder)}
    typed = [sys.executable, "-m", "polyak", "train", str(options.data), "--weights"]
    typed += [options.weights, "--mean", *[".5"] * 3, "--std", *[".5"] * 3, "--out"]
    found = {}
    for name in ("polyak", "polyak, features remembered"):
        out = folder / name
        seconds, _ = timed([*typed, str(out)], environment)
        (last,) = out.glob("*/metrics.jsonl")
        end = json.loads(last.read_text().splitlines()[-1])
        found[name] = seconds, end["evaluation"]["accuracy"]["value"]
    command = [sys.executable, "-c", BY_HAND, str(options.data), options.weights]
    seconds, said = timed(command, environment)
    return found | {"by hand": (seconds, json.loads(said)["accuracy"])}


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data", type=Path)
    options.add_argument("--weights", required=True)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--out", type=Path)
    options = options.parse_args()
    rounds = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(round_of(options, Path(folder)))
        print(json.dumps(rounds[-1]), flush=True)
    results: dict = {"machine": machine.describe(), "rounds": options.rounds}
    for name in rounds[0]:
        ratios = [one[name][0] / one["by hand"][0] for one in rounds]
        for what, some in (("seconds", [one[name][0] for one in rounds]), ("of by hand", ratios)):
            low, high = round(min(some), 3), round(max(some), 3)
            middle = round(statistics.median(some), 3)
            results.setdefault(what, {})[name] = {"median": middle, "min": low, "max": high}
        results.setdefault("accuracy", {})[name] = statistics.median(one[name][1] for one in rounds)
    keep(results, options.out)


if __name__ == "__main__":
    main()
