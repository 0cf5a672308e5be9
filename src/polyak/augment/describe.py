"""A plan's row in words: what an image went through, read off the composed maps."""

import numpy as np
from numpy.typing import ArrayLike

from polyak.augment import kernels as row_of
from polyak.augment.colour import GREY, YIQ


def describe(row: np.ndarray, size: tuple[int, int], mean: ArrayLike, std: ArrayLike) -> list[str]:
    """Say what a row does to its image; what does nothing is not said.

    Args:
        row: float32 (COLUMNS,), of `Policy.plan`.
        size: (height, width) of the result.
        mean: of the plan, three numbers in [0, 1].
        std: of the plan, three numbers.

    >>> from polyak.augment import Policy
    >>> policy = Policy.parse("flip | rotate(degrees=10..10) | brightness(by=1.25..1.25)")
    >>> call = {"size": (8, 8), "mean": (0.5,) * 3, "std": (0.2,) * 3}
    >>> describe(policy.plan(0, 0, [0], [(8, 8)], **call)[0], **call)
    ['mirrored', 'turned 10\N{DEGREE SIGN}', 'light x1.25']
    """
    words = _geometry(row.astype(np.float64), size)
    words += _colour(row.astype(np.float64), np.asarray(mean), np.asarray(std))
    spread, level, bits, sharp = row[row_of.TABLE : row_of.COLUMNS].tolist()
    words += [("equalized", "autocontrast")[int(spread) - 1]] if spread else []
    words += [f"inverted from {level:.0f}"] if level < 256 else []
    words += [f"{bits:.0f} bits"] if bits < 8 else []
    words += [f"sharpness x{1 + sharp:.2f}"] if sharp else []
    top, left, bottom, right = np.clip(row[row_of.HOLE : row_of.HOLE_COLOUR], 0, [*size, *size])
    hole = max(bottom - top, 0) * max(right - left, 0) / (size[0] * size[1])
    return [*words, f"hole {hole:.0%}"] if hole else words


def _geometry(row, size):
    map = row[row_of.MATRIX : row_of.COLOUR].reshape(3, 3)
    middle = map @ [size[1] / 2, size[0] / 2, 1.0]
    slope = (map[:2, :2] - np.outer(middle[:2] / middle[2], map[2, :2])) / middle[2]
    # slope = turn @ upper triangle, the diagonal positive where nothing is mirrored
    turn, rest = np.linalg.qr(slope)
    signs = np.sign(np.diag(rest))
    turn, rest = turn * signs, rest * signs[:, None]
    words = ["mirrored"] if np.linalg.det(turn) < 0 else []
    turn[0] *= -1.0 if words else 1.0  # mirrored before it is turned
    shown = (
        abs(np.linalg.det(slope)) * size[0] * size[1] / row[row_of.SOURCE : row_of.BORDER].prod()
    )
    degrees = np.rad2deg(np.arctan2(turn[1, 0], turn[0, 0]))
    degrees += 360.0 if degrees < -179.5 else 0.0
    sheared = np.rad2deg(np.arctan2(rest[0, 1], rest[1, 1]))
    stretch = abs(rest[0, 0] / rest[1, 1])
    words += [f"shows {shown:.0%}"] if abs(shown - 1) > 0.005 else []
    words += [f"turned {degrees:.0f}\N{DEGREE SIGN}"] if abs(degrees) >= 0.5 else []
    words += [f"sheared {sheared:.0f}\N{DEGREE SIGN}"] if abs(sheared) >= 0.5 else []
    words += [f"stretched {max(stretch, 1 / stretch):.2f}"] if abs(stretch - 1) > 0.005 else []
    words += ["tilted"] if map[2, :2].any() else []
    kind, k1 = row[row_of.LENS], row[row_of.LENS + 1]
    words += [f"{('lens', 'fisheye')[int(kind) - 1]} {k1:+.2f}"] if kind else []
    return [*words, f"bent by {row[row_of.FIELD]:.0f} px"] if row[row_of.FIELD] else words


def _colour(row, mean, std):
    values = row[row_of.COLOUR : row_of.LOW].reshape(3, 4) * std[:, None]
    matrix, shift = 255.0 * values[:, :3], values[:, 3] + mean
    light, offset = GREY @ matrix @ np.ones(3), GREY @ shift
    chroma = (YIQ @ matrix @ np.linalg.inv(YIQ))[1:, 1:]
    colour = abs(np.linalg.det(chroma)) ** 0.5
    hue = np.rad2deg(np.arctan2(chroma[1, 0] - chroma[0, 1], chroma[0, 0] + chroma[1, 1]))
    words = [f"light x{light:.2f}"] if abs(light - 1) > 0.005 else []
    words += [f"lift {offset:+.2f}"] if abs(offset) > 0.005 else []
    if colour < 0.01:
        return [*words, "grey"]
    relative = colour / light if light > 0.01 else 1.0
    words += [f"colour x{relative:.2f}"] if abs(relative - 1) > 0.005 else []
    return [*words, f"hue {hue:+.0f}\N{DEGREE SIGN}"] if abs(hue) >= 1 else words
