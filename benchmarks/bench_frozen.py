"""`--transfer linear` beside five epochs of the usual loop over a frozen backbone, same weights.

    python benchmarks/bench_frozen.py DATA --weights mobilenetv2_100.safetensors

DATA has train/ and val/ with a folder a class; both are measured on test/ where there is one. The
loop is plain PyTorch: torchvision's dataset and RandomResizedCrop + flip, Adam at 1e-3 on the head,
batches of 64, the backbone in evaluation mode without gradients. All are whole processes, one after
the other: polyak, polyak once more with its features remembered, the loop.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from whole import keep, timed

from polyak import machine

HALF = ("0.5", "0.5", "0.5")
LOOP = """
import sys, json
import timm, torch
from safetensors.torch import load_file
from torchvision import datasets, transforms as T
data, weights, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.manual_seed(0)
norm = T.Normalize((0.5,) * 3, (0.5,) * 3)
augment = T.Compose([T.RandomResizedCrop(224), T.RandomHorizontalFlip(), T.ToTensor(), norm])
centre = T.Compose([T.Resize(256), T.CenterCrop(224), T.ToTensor(), norm])
train = datasets.ImageFolder(data + "/train", augment)
held_out = datasets.ImageFolder(data + sys.argv[4], centre)
network = timm.create_model("mobilenetv2_100")
network.load_state_dict({k: v.float() for k, v in load_file(weights).items()}, strict=False)
network.reset_classifier(len(train.classes))
network.requires_grad_(False).eval()
network.classifier.requires_grad_(True)
optimizer = torch.optim.Adam(network.classifier.parameters(), 1e-3)
batches = torch.utils.data.DataLoader(train, 64, shuffle=True, num_workers=2)
for epoch in range(epochs):
    for images, labels in batches:
        with torch.no_grad():
            features = network.forward_head(network.forward_features(images), pre_logits=True)
        loss = torch.nn.functional.cross_entropy(network.classifier(features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
right = 0
with torch.inference_mode():
    for images, labels in torch.utils.data.DataLoader(held_out, 64, num_workers=2):
        right += int((network(images).argmax(1) == labels).sum())
print(json.dumps({"accuracy": right / len(held_out)}))
"""


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data", type=Path)
    options.add_argument("--weights", required=True)
    options.add_argument("--epochs", type=int, default=5)
    options.add_argument("--out", type=Path)
    options = options.parse_args()
    results = {"machine": machine.describe(), "epochs": options.epochs}
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"XDG_CACHE_HOME": folder}
        typed = [sys.executable, "-m", "polyak", "train", str(options.data)]
        typed += ["--weights", options.weights, "--mean", *HALF, "--std", *HALF]
        typed += ["--transfer", "linear", "--out", folder]
        for name in ("first", "again"):
            seconds, _ = timed([*typed, "--name", name], environment)
            end = (Path(folder) / name / "metrics.jsonl").read_text().splitlines()[-1]
            results[name] = {"seconds": seconds, "evaluation": json.loads(end)["evaluation"]}
        if options.epochs:
            part = "/test" if (options.data / "test").is_dir() else "/val"  # as polyak's figures
            words = [str(options.data), options.weights, str(options.epochs), part]
            seconds, said = timed([sys.executable, "-c", LOOP, *words], environment)
            results["loop"] = {"seconds": seconds, **json.loads(said)}
    keep(results, options.out)


if __name__ == "__main__":
    main()
