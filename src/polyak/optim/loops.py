"""One pass over memory: a rule, and the averages of what it wrote, in loops that Numba compiles for
the CPU.

The loops know addresses, not tensors, and contain no formula. They are serial and release the
interpreter's lock; `polyak.optim.engine` gives each thread its own stretch of weights. No
`fastmath`: divergence must stay visible. They go block by block, so that the averages find the
weights in the cache where the step left them.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from polyak.optim.rules import polyak
from polyak.optim.translate import translate

BLOCK = 2048  # weights; the streams of one block stay in a 48 KB first-level cache
MOST_STATES = 3

_options = {"nogil": True, "error_model": "numpy"}


def _typed(context, address, like):
    """Turn an address into a pointer to values of the type of `like`."""

    def generate(context, builder, call, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(call.return_type))

    return types.CPointer(like)(types.uint64, like), generate


_pointer: Any = intrinsic(_typed)


def _loop0(element):
    @njit(**_options)
    def loop(at, first, last, constants, scale, l2, shrink):
        x, dx = _pointer(at[0], scale), _pointer(at[1], scale)
        for i in range(first, last):
            (x[i],) = element(shrink * x[i], scale * dx[i] + l2 * x[i], constants)

    return loop


def _loop1(element):
    @njit(**_options)
    def loop(at, first, last, constants, scale, l2, shrink):
        x, dx, a = _pointer(at[0], scale), _pointer(at[1], scale), _pointer(at[2], scale)
        for i in range(first, last):
            x[i], a[i] = element(shrink * x[i], scale * dx[i] + l2 * x[i], a[i], constants)

    return loop


def _loop2(element):
    @njit(**_options)
    def loop(at, first, last, constants, scale, l2, shrink):
        x, dx, a = _pointer(at[0], scale), _pointer(at[1], scale), _pointer(at[2], scale)
        b = _pointer(at[3], scale)
        for i in range(first, last):
            x[i], a[i], b[i] = element(
                shrink * x[i], scale * dx[i] + l2 * x[i], a[i], b[i], constants
            )

    return loop


def _loop3(element):
    @njit(**_options)
    def loop(at, first, last, constants, scale, l2, shrink):
        x, dx, a = _pointer(at[0], scale), _pointer(at[1], scale), _pointer(at[2], scale)
        b, c = _pointer(at[3], scale), _pointer(at[4], scale)
        for i in range(first, last):
            x[i], a[i], b[i], c[i] = element(
                shrink * x[i], scale * dx[i] + l2 * x[i], a[i], b[i], c[i], constants
            )

    return loop


@njit(**_options)
def _averages(element, at, columns, first, last, decays, like):
    """Average the weights of one block; every column of `at` after the state is one average."""
    x = _pointer(at[0], like)
    for k in range(len(decays)):
        x_test = _pointer(at[columns + k], like)
        constants = (decays[k, 0], decays[k, 1])
        for i in range(first, last):
            (x_test[i],) = element(x_test[i], x[i], constants)


@cache
def sweep(
    rule: Callable[..., Any] | None, states: int, precision: type[Any]
) -> Callable[..., None]:
    """Make the pass of a rule: `sweep(addresses, sizes, begin, end, constants, scale, l2, shrink,
    decays)`.

    Args:
        rule: the rule, or None for a pass that only averages.
        states: how many tensors of state the rule has, at most `MOST_STATES`.
        precision: np.float32 or np.float64, the type of the weights.

    Returns:
        a compiled function. addresses: uint64 (2 + states + averages, tensors); sizes: int64
        (tensors,) weights; begin, end: the stretch of weights to do, counted through all tensors;
        constants: of the translated rule; scale, l2, shrink: of the gradient, of the weights added
        to it, of the weights; decays: (averages, 2).

    Raises:
        ValueError: the rule cannot be translated.

    >>> from polyak.optim.rules import sgd
    >>> import numpy as np
    >>> x, dx = np.ones(3, np.float32), np.ones(3, np.float32)
    >>> one, zero = np.float32(1), np.float32(0)
    >>> at = np.array([[x.ctypes.data], [dx.ctypes.data]], np.uint64)
    >>> jitted = sweep(sgd, 0, np.float32)
    >>> no_average = np.zeros((0, 2), np.float32)
    >>> jitted(at, np.array([3]), 1, 3, (np.float32(0.5),), one, zero, one, no_average)
    >>> x.tolist()
    [1.0, 0.5, 0.5]
    """
    average = njit(**_options)(translate(polyak, precision).element)
    element = njit(**_options)(translate(rule, precision).element)
    loop = (_loop0, _loop1, _loop2, _loop3)[states](element)
    columns = 2 + states

    @njit(**_options)
    def run(addresses, sizes, begin, end, constants, scale, l2, shrink, decays):
        start = 0
        for k in range(len(sizes)):
            first, last = max(begin - start, 0), min(end - start, sizes[k])
            start += sizes[k]
            while first < last:
                stop = min(first + BLOCK, last)
                loop(addresses[:, k], first, stop, constants, scale, l2, shrink)
                _averages(average, addresses[:, k], columns, first, stop, decays, scale)
                first = stop

    return run


def warm(jitted: Callable[..., None], states: int, precision: type[Any], constants: int) -> None:
    """Compile a pass now, on no weights, so that its errors come before anything is half done."""
    zero = precision(0)
    nothing = np.zeros((2 + states, 0), np.uint64)
    averages = np.zeros((0, 2), precision)
    jitted(nothing, np.zeros(0, np.int64), 0, 0, (zero,) * constants, zero, zero, zero, averages)


# the sum's order may be the processor's; infinities and NaN stay what they are
@njit(nogil=True, fastmath={"reassoc"})
def sums_of_squares(
    addresses: np.ndarray, sizes: np.ndarray, first: int, last: int, sums: np.ndarray, like: Any
) -> None:
    """Add up the squares of some stretches of weights in double, each into its own place."""
    for k in range(first, last):
        values = _pointer(addresses[k], like)
        total = 0.0
        for i in range(sizes[k]):
            value = np.float64(values[i])
            total += value * value
        sums[k] = total


@njit(**_options)
def count(addresses: np.ndarray) -> np.ndarray:
    """Add one to every float32 at these addresses and give the sums."""
    counts = np.empty(len(addresses), np.float32)
    for k in range(len(addresses)):
        step = _pointer(addresses[k], counts[0])
        step[0] += np.float32(1)
        counts[k] = step[0]
    return counts


def literals(precision: type[Any], *values: float) -> tuple[Any, ...]:
    """Give numbers the precision of the loops.

    >>> literals(np.float32, 1, 2.0)
    (np.float32(1.0), np.float32(2.0))
    """
    return tuple(map(precision, values))
