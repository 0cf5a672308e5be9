"""The recipe: every choice of a run in one flat, checked page that travels as YAML."""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from polyak import keys
from polyak.decoding.unreadable import PIXEL_CAP, as_pixels, pixel_count
from polyak.errors import UsageError, nearest
from polyak.recipe.duration import seconds
from polyak.recipe.names import OTHER_NAMES, renamed
from polyak.targets import ChooseBy

Rule = Literal[
    "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "nadam", "lion", "muon"
]
Optimizer = Literal["auto", Rule]
Course = Literal[
    "constant", "step", "exponential", "inverse", "cosine", "sgdr", "cyclic", "one_cycle",
    "triangular", "wsd",
]  # fmt: skip
Schedule = Literal["auto", Course]
ClassesFrom = Literal["auto", "leaf", "top"]
Share = Annotated[float, Field(ge=0, lt=1)]
DOTTED = "augment."
# what does not change the model, or tells of its maker's disk
ELSEWHERE = {"out", "name", "threads", "memory", "save_every", "device", "distill", "log"}
ELSEWHERE |= {"data", "classes_from", "label_separator", "group_by", "exclude", "max_pixels"}
USUAL = "light"  # the policy of `polyak train` where nothing speaks against it


class Recipe(BaseModel, frozen=True):
    """Hold every choice of a training run; what is None or `auto` is decided from data and machine.

    >>> Recipe(data="digits", epochs=3).optimizer
    'auto'
    >>> Recipe(data="digits", budget="10m").budget_seconds
    600.0
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    data: str = Field("", description="folder, CSV (path,label[,split]) or 'digits'")
    classes_from: ClassesFrom = Field(
        "auto",
        description="which folder names the class: the one at the top, or the leaf that holds the "
        "images; auto refuses folders that can be read in two ways",
    )
    label_separator: str = Field(
        ";", min_length=1, max_length=8, description="between labels in a table's column labels"
    )
    group_by: str | None = Field(
        None,
        description="images that belong together, by what this regular expression finds in their "
        "paths; no split or fold parts them",
    )
    exclude: str | None = Field(
        None, description="a table of images to leave out: the issues.csv of polyak clean"
    )
    max_pixels: str = Field(
        as_pixels(PIXEL_CAP), description="of an image; larger ones are left out: 120M, 1G"
    )
    model: str = Field("auto", description="'auto', 'compact' or any timm model name")
    widths: tuple[int, ...] | None = Field(None, description="channels of compact's stages")
    weights: str | None = Field(
        "auto",
        description="start from: a .safetensors or .pth file, an earlier run, 'hub' or hub:NAME, "
        "a model whose weights a package carries; none: from scratch; auto: ImageNet weights on "
        "this machine, where they help",
    )
    backbones: tuple[str, ...] | None = Field(
        None,
        max_length=8,
        description="more networks whose probes predict with this one's, by the names of their "
        "weights; with a budget those that pay are found",
    )
    transfer: Literal["auto", "linear", "stages", "few", "many", "all", "none"] = Field(
        "auto",
        description="what learns: a linear classifier on top, or on all stages; few, many or all "
        "stages after it; none: all, from a head of zeros",
    )
    layer_decay: float | None = Field(
        None, gt=0, le=1, description="rate of each stage to the one after it; default 0.7"
    )
    freeze_norms: bool | None = Field(
        None, description="keep the source's batch-norm statistics, as the probe did; default True"
    )
    l2_sp: float = Field(
        0.0, ge=0, description="pull of tuned stages toward their source weights (L2-SP)"
    )
    unfreeze: float = Field(
        0.0, ge=0, lt=1, description="share of the run in which tuned stages wake one by one"
    )
    mean: tuple[float, ...] | None = Field(
        None, min_length=3, max_length=3, description="colours' mean in [0, 1] that weights want"
    )
    std: tuple[float, ...] | None = Field(
        None, min_length=3, max_length=3, description="colours' spread in [0, 1] that weights want"
    )
    epochs: float | None = Field(None, gt=0, le=1e6, description="passes over the training images")
    budget: str | None = Field(None, description="wall-clock promise for all: 90s, 10m, 2h")
    optimizer: Optimizer = Field("auto", description="update rule")
    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] | None = Field(
        None, description="peak; default by optimizer; auto: found by a range test"
    )
    rho: float | None = Field(None, ge=0, lt=1, description="momentum; default by model")
    rho_range: tuple[float, float] | None = Field(
        None, description="momentum cycled against the rate: where it peaks, where it is 0"
    )
    weight_decay: float | None = Field(None, ge=0, description="of weights, not biases and norms")
    schedule: Schedule = Field("auto", description="course of the learning rate")
    cycles: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="of sgdr and cyclic, default 5; falls of branches, default 3",
    )
    cycle_growth: float = Field(1.0, gt=0, le=10, description="each sgdr cycle to the one before")
    cycle_peak: float = Field(
        1.0, gt=0, le=1, description="peak of each sgdr cycle to the one before"
    )
    warm_up: float | None = Field(
        None, ge=0, lt=1, description="share of the run that a ramp takes before the schedule"
    )
    ensemble: str | None = Field(
        None,
        description="snapshots: a member at the end of every cycle; branches: at the end of every "
        "fall of the rate, from which training goes back; independent:5: five runs",
    )
    distill: str | None = Field(
        None, description="learn an ensemble's probabilities: its run directory or model file"
    )
    balance: Literal["auto", "none", "weights", "logits", "sampling"] = Field(
        "auto",
        description="let every class count alike, however few images it has: by weights in the "
        "loss, by its logits, or by how often its images are drawn",
    )
    label_smoothing: float | None = Field(None, ge=0, lt=1, description="default by model")
    average: tuple[Share, ...] = Field(
        (0.04,),
        min_length=1,
        max_length=8,
        description="half-lives of Polyak's averages, shares of the run; 0 is off",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="probability to drop")
    dropout_where: str = Field(
        "head", description="head, blocks (after every block), or a pattern such as layer[34].*"
    )
    dropout_kind: Literal["dropout", "spatial", "connect", "depth"] = Field(
        "dropout", description="what is dropped: numbers, channels, weights, residual branches"
    )
    augment: str = Field(
        "auto", description="policy: none, light, ...; --augment.rotate 15 changes one operation"
    )
    mix: Literal["auto", "none", "mixup", "cutmix"] = Field(
        "auto", description="mix pairs of images of a batch, and their labels"
    )
    mix_alpha: float | None = Field(
        None, gt=0, le=100, description="how much, Beta(alpha, alpha); default 0.2 mixup, 1 cutmix"
    )
    views: str | None = Field(None, description="test-time views: one, flip, flip+shift")
    size: Annotated[int | None, Field(ge=8, le=1024)] = Field(
        None, description="side of the network's images, pixels"
    )
    batch_size: int | None = Field(
        None, ge=2, le=1_000_000, description="images a step, all processes together"
    )
    val: float = Field(0.1, gt=0, lt=0.9, description="share of train held out when no val exists")
    folds: int | None = Field(
        None, ge=2, le=100,
        description="train so many times, each time without another fold of the images, so that "
        "all are predicted by a model that did not see them",
    )  # fmt: skip
    fold: int | None = Field(
        None, ge=0, description="train once, without this one of the folds, counted from 0"
    )
    final: Literal["ensemble", "soup", "refit"] | None = Field(
        None,
        description="what folds come to: their models joined, the mean of their weights, or one "
        "more model, of all images; default refit for probes, ensemble else",
    )
    choose_by: ChooseBy = Field(
        "auto",
        description="what validation chooses weights and probes by; auto: the least NLL of those "
        "whose accuracy is not clearly lower",
    )
    patience: int | None = Field(
        None, ge=1, description="stop after so many validations without progress"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="of everything that is drawn")
    member: int = Field(
        0, ge=0, lt=1000, description="number of a member: the same split, everything else redrawn"
    )
    out: str = Field("runs", description="folder of run directories")
    name: str | None = Field(None, description="the run's own name")
    device: str = Field("auto", description="auto, cpu, cuda, mps")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="of products")
    threads: int | None = Field(
        None, ge=1, le=1024, description="compute threads; default all cores"
    )
    memory: float | None = Field(None, gt=0, description="GiB for decoded images")
    save_every: float = Field(60.0, ge=0, description="seconds between checkpoints")
    log: Literal["none", "tensorboard", "wandb"] = Field(
        "none", description="who reads along; when that fails, training goes on"
    )

    @field_validator("exclude", mode="before")
    @classmethod
    def _a_path_is_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    @field_validator("weights", mode="before")
    @classmethod
    def _no_weights(cls, value: Any) -> Any:
        return None if value == "none" else str(value) if isinstance(value, Path) else value

    @field_validator("budget")
    @classmethod
    def _budget_is_a_duration(cls, value):
        if value is not None:
            seconds(value)
        return value

    @field_validator("max_pixels", mode="before")
    @classmethod
    def _max_pixels_is_a_number(cls, value):
        return as_pixels(pixel_count(str(value)))

    @field_validator("rho_range")
    @classmethod
    def _rho_range_is_of_momenta(cls, value):
        if value is not None and not all(0 <= rho < 1 for rho in value):
            raise ValueError(f"{value[0]} {value[1]}: momentum is from 0 to below 1")
        return value

    @field_validator("average", mode="before")
    @classmethod
    def _one_average_is_a_list_of_one(cls, value):
        return (value,) if isinstance(value, int | float) else value

    @field_validator("ensemble")
    @classmethod
    def _ensemble_is_known(cls, value):
        if value not in (None, "snapshots", "branches") and not re.fullmatch(
            r"independent:\d{1,3}", value
        ):
            raise ValueError(
                f"{value!r} is no ensemble; write snapshots, branches, or independent:5"
            )
        return value

    @property
    def independent(self) -> int:
        """How many independent members are wanted, or 0.

        >>> Recipe(data="digits", ensemble="independent:3").independent
        3
        """
        kind, _, number = (self.ensemble or "").partition(":")
        return int(number) if kind == "independent" else 0

    @property
    def draws(self) -> int:
        """The seed of this member's weights, order, pixels and masks; the split is the seed's.

        >>> Recipe(seed=5).draws, Recipe(seed=5, member=1).draws == Recipe(seed=5, member=2).draws
        (5, False)
        """
        return keys.key("member", self.seed, self.member) if self.member else self.seed

    @property
    def pixel_cap(self) -> int:
        """The most pixels that an image may have.

        >>> Recipe(max_pixels="120M").pixel_cap
        120000000
        """
        return pixel_count(self.max_pixels)

    @property
    def budget_seconds(self) -> float | None:
        """Seconds of wall clock promised, or None.

        >>> Recipe(data="digits").budget_seconds is None
        True
        """
        return None if self.budget is None else seconds(self.budget)


def make(**choices: Any) -> Recipe:
    """Build a recipe, or say in one line which choice is wrong and what is close to it.

    Raises:
        UsageError: an unknown or impossible choice.

    >>> make(data="digits", epochs=2).epochs
    2.0
    >>> make(**{"data": "digits", "augment": "flip", "augment.rotate": 15}).augment
    'flip | rotate(degrees=15)'
    """
    choices = renamed(choices)
    dotted = [name for name in choices if name.startswith(DOTTED)]
    changes = {name.removeprefix(DOTTED): choices.pop(name) for name in dotted}
    if changes:
        choices["augment"] = _policy(choices.get("augment", "auto"), changes)
    try:
        recipe = Recipe(**choices)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        unknown = first["type"] == "extra_forbidden"
        close = nearest(name, list(Recipe.model_fields), OTHER_NAMES) if unknown else ""
        raise UsageError(
            "unknown option" if unknown else "impossible option",
            where=name.replace("_", "-"),
            why="" if unknown else first["msg"].removeprefix("Value error, "),
            then=f"did you mean --{close.replace('_', '-')}?" if close else "",
        ) from error
    if recipe.epochs is not None and recipe.budget is not None:
        raise UsageError("give --epochs or --budget, not both")
    _check_folds(recipe)
    return recipe


def _check_folds(recipe: Recipe) -> None:
    if recipe.folds is None:
        if alone := [name for name in ("fold", "final") if getattr(recipe, name) is not None]:
            raise UsageError(f"--{alone[0]} goes with --folds", then="--folds 5")
        return
    if recipe.independent:
        raise UsageError("give --folds or --ensemble independent, not both")
    if recipe.fold is not None and recipe.fold >= recipe.folds:
        why = f"{recipe.folds} folds are counted from 0 to {recipe.folds - 1}"
        raise UsageError("no such fold", where=f"--fold {recipe.fold}", why=why)


def _policy(name: str, changes: dict[str, object]) -> str:
    """Write out a policy with some operations changed; left open, it is the usual one."""
    from polyak.augment import Policy
    from polyak.augment.change import changed

    policy = Policy.parse(USUAL if name == "auto" else str(name))
    for operation, value in changes.items():
        # YAML reads off as false
        policy = changed(policy, operation, "off" if value is False else str(value))
    return str(policy)
