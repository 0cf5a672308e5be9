"""What to draw: a list of operations with ranges and probabilities, and the plan that it makes.

A policy is text, `crop(scale=0.35..1, ratio=0.75..1.33, on=large) | flip(p=alternate)`, and a
function: the plan's row of an image depends on (seed, epoch, index) and nothing else.
"""

import hashlib
import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from polyak import keys
from polyak.augment import ops
from polyak.augment.chance import OPERATIONS
from polyak.augment.draft import Draft
from polyak.errors import UsageError

if TYPE_CHECKING:
    from polyak.augment.transform import Transform

_LIGHT = (
    "shift(by=0.0625, on=small) | crop(scale=0.35..1, ratio=0.75..1.3333, on=large)"
    " | flip(p=alternate)"
    " | brightness(by=0.2, on=large) | contrast(by=0.2, on=large) | saturation(by=0.2, on=large)"
)
_LECTURE = (  # slide "Get creative for your problem!", every item of it
    "shift(by=0.0625, on=small) | crop(scale=0.35..1, ratio=0.75..1.3333, on=large)"
    " | flip(p=alternate) | rotate(degrees=12) | stretch(by=0.15) | shear(degrees=6)"
    " | shift(by=0.04) | lens(k1=-0.1..0.2, off=0.1) | brightness(by=0.3) | contrast(by=0.3)"
    " | saturation(by=0.3) | lighting(by=0.1)"
)
_STRONG = (
    "shift(by=0.125, on=small) | crop(scale=0.1..1, ratio=0.6..1.6667, on=large)"
    " | flip(p=alternate) | rotate(degrees=25) | stretch(by=0.25) | shear(degrees=12)"
    " | perspective(by=0.4, p=0.5) | lens(k1=-0.15..0.4, off=0.2, p=0.5) | elastic(by=0.03, p=0.25)"
    " | brightness(by=0.4) | contrast(by=0.4) | saturation(by=0.4) | hue(degrees=20)"
    " | lighting(by=0.1) | grey(p=0.05) | hole(area=0.02..0.2, p=0.25)"
)
_CROPPED = "crop(scale=0.08..1, on=large) | shift(by=0.125, on=small) | flip(p=alternate)"
NAMED = {
    "none": "none",
    "light": _LIGHT,
    "lecture": _LECTURE,
    "strong": _STRONG,
    "rand": f"{_CROPPED} | rand(count=2, magnitude=0.3)",
    "trivial": f"{_CROPPED} | trivial",
}
_USUAL = 5 + 1  # numbers of an operation drawn at once, the last for its probability
RENAMED = {"upset": "vflip"}  # what policies called an operation before
_HASHED = {new: old for old, new in RENAMED.items()}  # purposes of `keys` are for ever
Value = float | str | tuple[float, float]
_WORDS = ("alternate", "any", "small", "large", *(mode for mode in ops.BORDERS))


@dataclass(frozen=True)
class Operation:
    """One step of a policy.

    Args:
        name: one of `OPERATIONS`.
        parameters: (name, number or (low, high)) pairs.
        p: probability to apply; "alternate": an image is met both ways in any two epochs.
        on: "any", "small" (an image no larger than the result either way) or "large".

    >>> str(Operation("flip", p=0.5))
    'flip(p=0.5)'
    """

    name: str
    parameters: tuple[tuple[str, Value], ...] = ()
    p: float | str = 1.0
    on: str = "any"

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", RENAMED.get(self.name, self.name))
        _check(self)

    def __str__(self) -> str:
        parts = [f"{name}={_text(value)}" for name, value in self.parameters]
        parts += [f"p={_text(self.p)}"] if self.p != 1.0 else []
        parts += [f"on={self.on}"] if self.on != "any" else []
        return f"{self.name}({', '.join(parts)})" if parts else self.name


@dataclass(frozen=True)
class Policy:
    """A list of operations: printable, hashable, a pure function from (seed, epoch, index).

    >>> policy = Policy.parse("crop(scale=0.5..1) | flip(p=0.5)")
    >>> str(policy)
    'crop(scale=0.5..1) | flip(p=0.5)'
    >>> policy.plan(0, 0, [7], [(375, 500)], (224, 224), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)).shape
    (1, 53)
    """

    operations: tuple[Operation, ...] = ()

    @classmethod
    def named(cls, name: str) -> "Policy":
        """Look a ready-made policy up: none, light, lecture, strong, rand or trivial.

        >>> str(Policy.named("none"))
        'none'
        """
        if name not in NAMED:
            raise UsageError("no such policy", where=name, then=f"choose of {', '.join(NAMED)}")
        return cls.parse(NAMED[name])

    @classmethod
    def centre(cls, fraction: float = 0.875) -> "Policy":
        """Resize the shorter side to size / fraction and cut the middle.

        >>> str(Policy.centre(1.0))
        'centre(fraction=1)'
        """
        return cls((Operation("centre", (("fraction", float(fraction)),)),))

    @classmethod
    def parse(cls, text: str) -> "Policy":
        """Read a policy back from its text, or by its name.

        Raises:
            UsageError: an operation, a parameter or a value is unknown or beyond its limit.

        >>> Policy.parse(str(Policy.named("light"))) == Policy.named("light")
        True
        """
        text = NAMED.get(text.strip(), text).strip()
        if text == "none":
            return cls()
        return cls(tuple(_operation(part.strip()) for part in text.split("|")))

    def __str__(self) -> str:
        return " | ".join(map(str, self.operations)) or "none"

    def digest(self) -> str:
        """Name the policy in 16 hexadecimal digits; equal texts, equal digests.

        >>> Policy.named("none").digest() == Policy.parse("none").digest()
        True
        """
        return hashlib.sha256(str(self).encode()).hexdigest()[:16]

    def plan(
        self, seed: int, epoch: int, indices: ArrayLike, sizes: ArrayLike, size: tuple[int, int],
        mean: ArrayLike, std: ArrayLike,
    ) -> np.ndarray:  # fmt: skip
        """Draw every random number of some images, as one row each.

        Args:
            seed: any integer.
            epoch: counts from 0.
            indices: int (n,); the images' positions in the data.
            sizes: int (n, 2); height and width of the images as stored.
            size: (height, width) of the result, pixels.
            mean: three numbers in [0, 1], subtracted.
            std: three numbers in [0, 1], divided by.

        Returns:
            float32 (n, COLUMNS), what `render` and `render_batch` take.

        Raises:
            UsageError: shapes disagree, or `size` or `std` is not positive.

        >>> light = Policy.named("light")
        >>> one = light.plan(0, 3, [5], [(32, 32)], (32, 32), (0, 0, 0), (1, 1, 1))
        >>> many = light.plan(0, 3, [4, 5], [(32, 32)] * 2, (32, 32), (0, 0, 0), (1, 1, 1))
        >>> bool((one[0] == many[1]).all())
        True
        """
        indices, sizes = np.asarray(indices, dtype=np.int64), np.asarray(sizes, dtype=np.int64)
        mean, std = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
        _check_call(indices, sizes, size, mean, std)
        draft = Draft(sizes, size, mean, std)
        once, anew = keys.keys("picture", seed, indices), keys.keys("look", seed, epoch, indices)
        # one call for the numbers that operations usually need: a few images at a time stay cheap
        usual = np.arange(_USUAL * len(self.operations))
        blocks = keys.uniform("augment", anew[:, None], usual).T.reshape(-1, _USUAL, len(anew))
        for place, (operation, block) in enumerate(zip(self.operations, blocks, strict=True)):
            _apply(draft, operation, place, block, (once, epoch, anew))
        return draft.rows()

    def transform(
        self, size: tuple[int, int], mean: ArrayLike, std: ArrayLike, seed: int = 0
    ) -> "Transform":
        """Make a callable for torchvision datasets and DataLoaders; see `Transform`.

        >>> Policy.named("none").transform((8, 8), (0, 0, 0), (1, 1, 1)).policy
        Policy(operations=())
        """
        from polyak.augment.transform import Transform

        return Transform(self, size, mean, std, seed)


def _apply(draft, operation, place, block, counters):
    once, epoch, anew = counters
    purpose = f"augment {place} {_HASHED.get(operation.name, operation.name)}"

    def draw(k):
        return block[k] if k in range(_USUAL - 1) else keys.uniform(f"{purpose} {k}", anew)

    if operation.p == "alternate":
        on = (keys.keys(purpose, once) + np.uint64(epoch)) % np.uint64(2) == 1
    elif operation.p == 1.0:
        on = np.ones(len(anew), dtype=bool)
    else:
        on = block[-1] < operation.p
    if operation.on != "any":
        small = (draft.sizes <= np.array(draft.size)).all(axis=1)
        on &= small if operation.on == "small" else ~small
    if on.any():
        OPERATIONS[operation.name](draft, on, draw, **dict(operation.parameters))


def _check_call(indices, sizes, size, mean, std):
    def refuse(where, why):
        raise UsageError("cannot plan", where=where, why=why)

    if indices.ndim != 1 or sizes.shape != (len(indices), 2):
        refuse("sizes", f"{sizes.shape} for {indices.shape} indices, not (n, 2) for (n,)")
    if len(size) != 2 or min(size) < 1:
        refuse("size", f"{size} is not (height, width) of at least 1 pixel")
    if (
        mean.shape != (3,)
        or std.shape != (3,)
        or not (std > 0).all()
        or not np.isfinite(mean).all()
    ):
        refuse(
            "mean and std", f"{mean.tolist()} and {std.tolist()} are not three numbers, std above 0"
        )


def _check(operation):
    if operation.name not in OPERATIONS:
        known = ", ".join(OPERATIONS)
        raise UsageError("no such operation", where=operation.name, then=f"choose of {known}")
    signature = list(inspect.signature(OPERATIONS[operation.name]).parameters)[3:]
    for name, value in operation.parameters:
        where = f"{operation.name}({name})"
        if name not in signature:
            known = ", ".join([*signature, "p", "on"])
            raise UsageError("no such parameter", where=where, then=f"choose of {known}")
        why = _wrong(value, ops.LIMITS[operation.name][name])
        if why:
            raise UsageError("bad parameter", where=where, why=why)
    if operation.p != "alternate" and not (
        isinstance(operation.p, int | float) and 0 <= operation.p <= 1
    ):
        why = f"{operation.p} is not a probability from 0 to 1, nor 'alternate'"
        raise UsageError("bad parameter", where=f"{operation.name}(p)", why=why)
    if operation.on not in ("any", "small", "large"):
        why = f"{operation.on} is not any, small or large"
        raise UsageError("bad parameter", where=f"{operation.name}(on)", why=why)


def _wrong(value, limits):
    if isinstance(limits[0], str):
        return "" if value in limits else f"{_text(value)} is none of {', '.join(limits)}"
    values = value if isinstance(value, tuple) else (value,)
    if any(isinstance(v, str) or not limits[0] <= v <= limits[1] for v in values):
        return f"{_text(value)} is outside {limits[0]:g} to {limits[1]:g}"
    return "" if list(values) == sorted(values) else f"{_text(value)} runs backwards"


def _operation(text):
    match = re.fullmatch(r"(\w+)\s*(?:\((.*)\))?", text)
    if not match:
        then = "write name(parameter=value, ...) | name(...)"
        raise UsageError("cannot read the policy", where=text, then=then)
    pairs = []
    for part in filter(None, (part.strip() for part in (match[2] or "").split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UsageError("cannot read the policy", where=text, why=f"{part} is not name=value")
        pairs.append((name, _value(value, text)))
    named = dict(pairs)
    p, on = named.pop("p", 1.0), named.pop("on", "any")
    return Operation(match[1], tuple(named.items()), p, on)


def _value(text, where):
    if text in _WORDS:
        return text
    try:
        numbers = tuple(float(number) for number in text.split(".."))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 2):
        raise UsageError("cannot read the policy", where=where, why=f"{text} is no number or range")
    return numbers[0] if len(numbers) == 1 else numbers


def _text(value):
    if isinstance(value, tuple):
        return "..".join(_text(v) for v in value)
    return value if isinstance(value, str) else repr(float(value)).removesuffix(".0")
