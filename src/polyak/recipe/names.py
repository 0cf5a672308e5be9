"""What choices are called elsewhere, and what they were called before."""

from collections.abc import Mapping
from typing import Any

# what torch, timm and other tools call these choices, so that their words are told ours
OTHER_NAMES = {
    "lr": "learning_rate", "lr0": "learning_rate", "max_lr": "learning_rate", "momentum": "rho",
    "wd": "weight_decay", "l2": "weight_decay", "opt": "optimizer", "optim": "optimizer",
    "sched": "schedule", "scheduler": "schedule", "lr_scheduler": "schedule", "warmup": "warm_up",
    "warmup_epochs": "warm_up", "smoothing": "label_smoothing", "ema": "average", "swa": "average",
    "model_ema": "average", "arch": "model", "network": "model", "backbone": "model",
    "pretrained": "weights", "checkpoint": "weights", "imgsz": "size", "img_size": "size",
    "image_size": "size", "input_size": "size", "resolution": "size", "bs": "batch_size",
    "aug": "augment", "augmentation": "augment", "drop": "dropout", "tta": "views",
    "val_split": "val", "validation": "val", "metric": "choose_by",
    "monitor": "choose_by", "eval_metric": "choose_by", "cv": "folds",
    "kfold": "folds", "k_fold": "folds", "n_splits": "folds", "cross_validation": "folds",
    "early_stopping": "patience", "teacher": "distill",
    "workers": "threads", "num_workers": "threads", "gpu": "device", "gpus": "device",
    "amp": "precision", "dtype": "precision", "output": "out", "output_dir": "out",
    "time": "budget", "max_time": "budget", "random_state": "seed",
}  # fmt: skip
# what options were called before, here and in files: name -> the one of today
RENAMED = {"pull": "l2_sp"}


def renamed(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Call choices of earlier versions what they are called today.

    >>> renamed({"pull": 0.01, "seed": 1})
    {'l2_sp': 0.01, 'seed': 1}
    """
    return {RENAMED.get(name, name): value for name, value in choices.items()}
