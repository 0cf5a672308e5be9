"""What a network expects of an image: size, colours, crop."""

import json
import math
from typing import Any, NamedTuple

from torch import nn

from polyak.errors import RefusedError, UsageError
from polyak.networks.compact import Compact

# field: (how many numbers, lowest, highest)
FIELDS: dict[str, tuple[int, float, float]] = {
    "size": (2, 8, 4096),
    "mean": (3, 0.0, 1.0),
    "std": (3, 1e-6, 10.0),
    "fraction": (1, 0.05, 1.0),
    "bits": (1, 8, 16),
}
WHOLE = {"size", "bits"}  # whole numbers


class Preprocessing(NamedTuple):
    """What a network expects of an image: size in pixels, colours in [0, 1] units.

    `fraction` is the share of the shorter side that the centre crop keeps; `bits`, of 16, are those
    that grey images of 16 bits are scaled by: what the training data used.

    >>> Preprocessing((224, 224), (0.5,) * 3, (0.5,) * 3, 0.875).size
    (224, 224)
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fraction: float
    bits: int = 16

    def as_facts(self) -> dict[str, Any]:
        """Give plain values by name, without what earlier polyaks do not know and need not.

        >>> Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0).as_facts().keys()
        dict_keys(['size', 'mean', 'std', 'fraction'])
        """
        facts = self._asdict()
        return facts if self.bits < 16 else {k: v for k, v in facts.items() if k != "bits"}


def preprocessing(
    network: nn.Module | dict[str, Any],
    metadata: dict[str, str] | None = None,
    **overrides: Any,
) -> Preprocessing:
    """Say what size and colours a network's weights were trained for.

    Args:
        network: made by `build`, or timm's configuration of its weights, where it starts from.
        metadata: of the weights file; `size`, `mean`, `std`, `fraction` (JSON) go before timm's.
        overrides: the same names, before everything.

    Raises:
        RefusedError: a value in the metadata cannot be used.
        UsageError: an override cannot be used.

    >>> preprocessing(Compact(2, (8, 8)), mean=0.1).mean
    (0.1, 0.1, 0.1)
    """
    if isinstance(network, Compact):
        facts: dict[str, Any] = {"size": network.size, "mean": 0.5, "std": 0.5, "fraction": 1.0}
    else:
        config: Any = (
            network if isinstance(network, dict) else getattr(network, "pretrained_cfg", {})
        )
        facts = {field: config.get(field) for field in ("mean", "std")}
        facts |= {"size": config["input_size"][1:], "fraction": config["crop_pct"]}
    facts |= _from_metadata(metadata or {}) | overrides
    return Preprocessing(**{field: checked(field, value) for field, value in facts.items()})


def _from_metadata(metadata: dict[str, str]) -> dict[str, Any]:
    facts = {}
    theirs = FIELDS.keys() - {"bits"}  # which are the data's, not the weights'
    for field in theirs & metadata.keys():
        try:
            facts[field] = json.loads(metadata[field])
            checked(field, facts[field])
        except (ValueError, RecursionError, UsageError) as error:
            why = f"{metadata[field][:80]} cannot be used"
            raise RefusedError(
                "damaged preprocessing in the weights", where=field, why=why
            ) from error
    return facts


def checked(field: str, value: Any) -> Any:
    """Make one field of `Preprocessing` of numbers from outside; one number may stand for three.

    Raises:
        UsageError: an unknown field, a wrong count, or a number out of range.

    >>> checked("mean", 0.5), checked("size", [32, 48])
    ((0.5, 0.5, 0.5), (32, 48))
    """
    if field not in FIELDS:
        raise UsageError(
            "unknown preprocessing", where=field, why=f"choose from {', '.join(FIELDS)}"
        )
    length, lowest, highest = FIELDS[field]
    numbers = list(value) if isinstance(value, tuple | list) else [value] * length
    if len(numbers) != length or not all(_is_number(n, lowest, highest) for n in numbers):
        why = f"{value} is not {length} number(s) from {lowest} to {highest}"
        raise UsageError("preprocessing out of range", where=field, why=why)
    numbers = [int(n) if field in WHOLE else float(n) for n in numbers]
    return numbers[0] if length == 1 else tuple(numbers)


def _is_number(value: Any, lowest: float, highest: float) -> bool:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and math.isfinite(value) and lowest <= value <= highest
