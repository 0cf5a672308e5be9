"""A recipe without open choices: what training, planning and selection act on."""

from typing import Any, Literal, Self

from pydantic import Field

from polyak.recipe.recipe import Course, Recipe, Rule

Strategy = Literal["linear", "stages", "few", "many", "all", "none"]
PROBES = ("linear", "stages")  # strategies that leave the backbone as it is
OF_TRAINING = frozenset(
    (
        "layer_decay", "freeze_norms", "l2_sp", "unfreeze", "epochs", "optimizer", "learning_rate",
        "rho", "rho_range", "weight_decay", "schedule", "cycles", "cycle_growth", "cycle_peak",
        "warm_up", "ensemble", "distill", "label_smoothing", "average", "dropout", "dropout_where",
        "dropout_kind", "augment", "mix", "mix_alpha", "batch_size", "patience",
    )
)  # fmt: skip


class Resolved(Recipe, frozen=True):
    """Hold every choice of a run as it will be acted on; None now means absent, never undecided.

    What belongs to the machine (device, precision, threads, memory) stays as it was asked:
    `Machine` holds what came of it. `measured` names the choices that have a value to go on with
    until a range test, a probe or a plan replaces it.

    Args:
        reasons: name of a choice that was left open -> why it is what it is.
        measured: names of the choices that are still to be measured.

    >>> from polyak.data import find, scan, split
    >>> from polyak.recipe import make
    >>> from polyak.recipe.resolve import resolve
    >>> one = resolve(make(data="digits", epochs=1), split(scan(find("digits"))))
    >>> one.optimizer, one.transfer, one.layer_decay
    ('nesterov', 'none', None)
    """

    model: str
    transfer: Strategy
    optimizer: Rule
    learning_rate: float
    rho: float
    weight_decay: float
    schedule: Course
    warm_up: float
    balance: Literal["none", "weights", "logits", "sampling"]
    label_smoothing: float
    augment: str
    mix: Literal["none", "mixup", "cutmix"]
    views: str
    batch_size: int
    reasons: dict[str, str] = Field(default_factory=dict, exclude=True, repr=False)
    measured: frozenset[str] = Field(default=frozenset(), exclude=True, repr=False)

    def decided(self, reason: str = "", **choices: Any) -> Self:
        """Replace some choices, which are no longer to be measured, and note why.

        >>> from polyak.recipe.resolve import resolve
        >>> from polyak.data import find, scan, split
        >>> from polyak.recipe import make
        >>> asked = make(data="digits", learning_rate="auto")
        >>> one = resolve(asked, split(scan(find("digits"))))
        >>> two = one.decided("a range test", learning_rate=0.5)
        >>> sorted(one.measured), sorted(two.measured), two.learning_rate
        (['learning_rate'], [], 0.5)
        >>> two.reasons["learning_rate"]
        'a range test'
        """
        reasons = dict.fromkeys(choices, reason) if reason else {}
        return self.model_copy(
            update=choices
            | {"reasons": self.reasons | reasons, "measured": self.measured.difference(choices)}
        )

    @property
    def tuned(self) -> bool:
        """Whether a network that was trained before learns on, starting with a probe on top."""
        return self.transfer not in (*PROBES, "none")

    @property
    def idle(self) -> frozenset[str]:
        """The choices that nothing acts on: those of training, where a probe is the model."""
        return OF_TRAINING if self.transfer in PROBES else frozenset()

    def without_effect(self) -> list[str]:
        """Say which of the user's choices nothing acts on, in a line.

        >>> from polyak.data import find, scan, split
        >>> from polyak.recipe import make
        >>> from polyak.recipe.resolve import resolve
        >>> data = split(scan(find("digits")))
        >>> asked = make(data="digits", model="resnet18", weights="hub", mix="cutmix")
        >>> resolve(asked, data).decided(transfer="linear").without_effect()
        ['a probe trains nothing: --mix has no effect; --transfer all trains']
        """
        default = {name: field.default for name, field in Recipe.model_fields.items()}
        names = [
            f"--{name.replace('_', '-')}"
            for name in Recipe.model_fields
            if name in self.idle and name not in self.reasons
            if getattr(self, name) != default[name]
        ]
        if not names:
            return []
        verb = "have" if len(names) > 1 else "has"
        return [
            f"a probe trains nothing: {', '.join(names)} {verb} no effect; --transfer all trains"
        ]

    @property
    def cyclic(self) -> bool:
        """Whether the learning rate comes back to its peak."""
        return self.cycles is not None and self.schedule in ("sgdr", "cyclic")
