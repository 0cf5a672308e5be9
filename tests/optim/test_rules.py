"""The rules on exact numbers, and the laws they obey."""

from fractions import Fraction as F

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyak.optim import rules

numbers = st.floats(-100, 100).map(lambda v: round(v, 3))
gradients = st.lists(numbers.filter(lambda v: abs(v) > 1e-2), min_size=1, max_size=8)
STATES = {"sgd": 0, "momentum": 1, "nesterov": 1, "adagrad": 1, "rmsprop": 1, "adam": 2, "lion": 1}


def run(name, x, gradients, **hyper):
    state = [0] * STATES[name]
    path = []
    for t, dx in enumerate(gradients, 1):
        clock = {"t": t} if name == "adam" else {}
        x, *state = getattr(rules, name)(x, dx, *state, **clock, **hyper)
        path.append(x)
    return path


# worked by hand on f(x) = x**2 / 2 from x = 1, so dx = x
@pytest.mark.parametrize(
    ("name", "hyper", "expected"),
    [
        ("sgd", {"learning_rate": F(1, 2)}, [F(1, 2), F(1, 4), F(1, 8)]),
        ("momentum", {"learning_rate": F(1, 2), "rho": F(1, 2)}, [F(1, 2), 0, F(-1, 4)]),
        ("nesterov", {"learning_rate": F(1, 2), "rho": F(1, 2)}, [F(1, 4), F(-1, 16), F(-7, 64)]),
    ],
)
def test_exact_sequences(name, hyper, expected):
    x, state, path = F(1), [F(0)] * STATES[name], []
    for _ in expected:
        x, *state = getattr(rules, name)(x, x, *state, **hyper)
        path.append(x)
    assert path == expected


def test_roots_on_perfect_squares():
    assert run("adagrad", 10.0, [3.0, 4.0], learning_rate=5.0, eps=0) == [5.0, 1.0]
    assert run("rmsprop", 10.0, [4.0], learning_rate=2.0, decay_rate=0.75, eps=0) == [6.0]
    # constant gradients: both moments unbias to dx and dx**2, so every step is the rate
    assert run("adam", 1.0, [3.0] * 3, learning_rate=0.25, eps=0) == pytest.approx(
        [0.75, 0.5, 0.25]
    )


def test_quadratic_has_the_closed_form():
    x = F(1)
    for _ in range(20):
        (x,) = rules.sgd(x, F(3) * x, F(1, 10))
    assert x == (1 - F(3, 10)) ** 20


@given(st.sampled_from(sorted(STATES)), numbers, gradients)
def test_rate_zero_is_the_identity(name, x, dxs):
    assert run(name, x, dxs, learning_rate=0.0) == [x] * len(dxs)


@given(st.sampled_from(sorted(STATES)), numbers, gradients)
def test_mirrored_gradients_give_the_mirrored_path(name, x, dxs):
    path = run(name, x, dxs, learning_rate=0.1)
    assert run(name, -x, [-dx for dx in dxs], learning_rate=0.1) == [-value for value in path]


@given(gradients, st.integers(-8, 8))
def test_adam_does_not_see_the_scale_of_gradients(dxs, power):
    path = run("adam", 0.0, dxs, learning_rate=0.1, eps=0)
    scaled = run("adam", 0.0, [dx * 2.0**power for dx in dxs], learning_rate=0.1, eps=0)
    assert scaled == pytest.approx(path, rel=1e-12, abs=1e-12)


@given(numbers, gradients)
def test_no_friction_kept_is_sgd(x, dxs):
    plain = run("sgd", x, dxs, learning_rate=0.125)
    assert run("momentum", x, dxs, learning_rate=0.125, rho=0) == plain
    assert run("nesterov", x, dxs, learning_rate=0.125, rho=0) == pytest.approx(plain)


@given(st.lists(numbers, min_size=1, max_size=9))
def test_mean_is_the_mean(xs):
    xs = [F(x) for x in xs]
    average = F(0)
    for n, x in enumerate(xs, 1):
        (average,) = rules.mean(average, x, F(n))
    assert average == sum(xs) / len(xs)


@given(numbers, numbers)
def test_polyak_at_its_ends(x_test, x):
    assert rules.polyak(x_test, x, decay=0) == (x,)
    assert rules.polyak(x_test, x, decay=1) == (x_test,)


def test_polyak_weighs_exactly():
    x_test = F(1)
    for x in (F(2), F(4), F(8)):
        (x_test,) = rules.polyak(x_test, x, decay=F(1, 2))
    assert x_test == F(1, 8) + F(2, 8) + F(4, 4) + F(8, 2)


def test_lion_steps_one_length():
    assert run("lion", 0.0, [5.0, -0.01, 0.0], learning_rate=0.5, beta1=0.5, beta2=0) == [
        -0.5,
        -1.0,
        -0.5,
    ]


def test_lion_stands_where_there_is_no_direction():
    assert run("lion", 1.0, [0.0, -0.0], learning_rate=0.5) == [1.0, 1.0]
