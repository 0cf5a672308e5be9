"""RandAugment and TrivialAugment: operations that choose among the others for every image.

Sources: Cubuk et al., RandAugment, 2020; Müller and Hutter, TrivialAugment, 2021. One choice in
each is to do nothing, as there.
"""

from collections.abc import Callable

import numpy as np

from polyak.augment import ops
from polyak.augment.draft import Draft

_FAMILY: dict[str, Callable[..., None]] = ops.OPERATIONS
_SIGNED = {  # amount at full magnitude: (RandAugment's, TrivialAugment's wide)
    "rotate": ("degrees", 30.0, 135.0),
    "shear": ("degrees", 16.7, 44.7),
    "shift": ("by", 0.45, 0.14),
    "brightness": ("by", 0.9, 0.99),
    "contrast": ("by", 0.9, 0.99),
    "saturation": ("by", 0.9, 0.99),
    "sharpness": ("by", 0.9, 0.99),
}


def rand(
    draft: Draft, on: np.ndarray, draw: ops.Draw, count: float = 2, magnitude: float = 0.3
) -> None:
    """Apply `count` operations, chosen anew for every image, all at one `magnitude` of 0 to 1."""
    for slot in range(int(count)):
        choice = np.floor(draw(f"choice {slot}") * (len(_SIGNED) + 5))

        def end(k, slot=slot):
            # one end of every symmetric range: full strength, random sign
            return np.floor(2.0 * draw(f"{slot} {k}"))

        for place, (name, (parameter, full, _)) in enumerate(_SIGNED.items()):
            given = {parameter: full * magnitude}
            _FAMILY[name](draft, on & (choice == place), end, **given)
        rest = len(_SIGNED)
        ops.solarize(draft, on & (choice == rest), end, level=256.0 * (1.0 - magnitude))
        ops.posterize(draft, on & (choice == rest + 1), end, bits=round(8 - 4 * magnitude))
        ops.equalize(draft, on & (choice == rest + 2), end)
        ops.autocontrast(draft, on & (choice == rest + 3), end)


def trivial(draft: Draft, on: np.ndarray, draw: ops.Draw) -> None:
    """Apply one operation, chosen anew for every image, at any strength up to a wide limit."""
    choice = np.floor(draw("choice") * (len(_SIGNED) + 5))
    for place, (name, (parameter, _, full)) in enumerate(_SIGNED.items()):
        _FAMILY[name](draft, on & (choice == place), draw, **{parameter: full})
    rest = len(_SIGNED)
    ops.solarize(draft, on & (choice == rest), draw, level=(0.0, 256.0))
    ops.posterize(draft, on & (choice == rest + 1), draw, bits=(2, 8))
    ops.equalize(draft, on & (choice == rest + 2), draw)
    ops.autocontrast(draft, on & (choice == rest + 3), draw)


OPERATIONS: dict[str, Callable[..., None]] = _FAMILY | {"rand": rand, "trivial": trivial}
