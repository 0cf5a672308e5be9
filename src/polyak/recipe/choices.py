"""The choices of a recipe as keyword arguments, for editors and type checkers."""

from pathlib import Path
from typing import Literal, TypedDict

from polyak.recipe.recipe import ClassesFrom, Optimizer, Schedule
from polyak.targets import ChooseBy


class Choices(TypedDict, total=False):
    """Name every choice of a `Recipe` but its data, with its type; a test keeps both alike."""

    classes_from: ClassesFrom
    label_separator: str
    group_by: str | None
    exclude: str | Path | None
    max_pixels: str
    model: str
    widths: tuple[int, ...] | None
    weights: str | Path | None
    backbones: tuple[str, ...] | None
    transfer: Literal["auto", "linear", "stages", "few", "many", "all", "none"]
    layer_decay: float | None
    freeze_norms: bool | None
    l2_sp: float
    unfreeze: float
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    epochs: float | None
    budget: str | None
    optimizer: Optimizer
    learning_rate: float | Literal["auto"] | None
    rho: float | None
    rho_range: tuple[float, float] | None
    weight_decay: float | None
    schedule: Schedule
    cycles: int | None
    cycle_growth: float
    cycle_peak: float
    warm_up: float | None
    ensemble: str | None
    distill: str | Path | None
    balance: Literal["auto", "none", "weights", "logits", "sampling"]
    label_smoothing: float | None
    average: tuple[float, ...]
    dropout: float
    dropout_where: str
    dropout_kind: Literal["dropout", "spatial", "connect", "depth"]
    augment: str
    mix: Literal["auto", "none", "mixup", "cutmix"]
    mix_alpha: float | None
    views: str | None
    size: int | None
    batch_size: int | None
    val: float
    folds: int | None
    fold: int | None
    final: Literal["ensemble", "soup", "refit"] | None
    choose_by: ChooseBy
    patience: int | None
    seed: int
    member: int
    out: str | Path
    name: str | None
    device: str
    precision: Literal["auto", "float32", "bfloat16"]
    threads: int | None
    memory: float | None
    save_every: float
    log: Literal["none", "tensorboard", "wandb"]
