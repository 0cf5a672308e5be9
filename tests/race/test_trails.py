"""Paths over surfaces: right by torch's own optimizers, and they show what the lecture says."""

from functools import partial

import numpy as np
import pytest
import torch

from polyak.optim import rules
from polyak.race import RULES, SURFACES, measure, trail
from polyak.race.surfaces import Surface
from polyak.race.trails import visible

PEERS = {
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "adagrad": partial(torch.optim.Adagrad, eps=1e-7),
    "rmsprop": partial(torch.optim.RMSprop, alpha=0.99, eps=1e-7),
    "adam": partial(torch.optim.Adam, eps=1e-7),
}
LINE = Surface(
    "line",
    "a slope that never ends",
    lambda x, y: x + 0 * y,
    lambda x, y: (1 + 0 * x, 0 * y),
    start=(0.0, 0.0),
    minimum=(-1.0, 0.0),
    x_range=(-9.0, 9.0),
    y_range=(-1.0, 1.0),
)


def own(name):
    """Walk at the surface's own rate."""
    return partial(trail, SURFACES[name], learning_rate=SURFACES[name].learning_rate)


def measured(name):
    """What each rule comes to at the surface's own rate."""
    return {rule: measure(SURFACES[name], own(name)(rule=f)) for rule, f in RULES.items()}


def torchs(surface, rule, learning_rate, steps):
    """Walk with torch's optimizer and autograd; the noise alone is ours."""
    x = torch.tensor(surface.start, dtype=torch.float64, requires_grad=True)
    optimizer = PEERS[rule]([x], lr=learning_rate)
    path = [x.detach().numpy().copy()]
    for t in range(1, steps + 1):
        optimizer.zero_grad()
        surface.value(*x).backward()
        clean = surface.gradient(*path[-1])
        noise = np.array(surface.noisy_gradient(*path[-1], t)) - np.array(clean)
        x.grad += torch.tensor(noise)
        optimizer.step()
        path.append(x.detach().numpy().copy())
    return np.array(path)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", SURFACES)
def test_paths_are_those_of_torch(name, rule):
    surface = SURFACES[name]
    # a path that jumps about multiplies the last bits: calm rates, so that rounding stays rounding
    rate = {"rosenbrock": 2e-4, "beale": 2e-3}.get(name, 0.01)
    ours = trail(surface, RULES[rule], rate, steps=60)
    np.testing.assert_allclose(ours, torchs(surface, rule, rate, 60), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", SURFACES)
def test_the_minimum_is_one_and_the_lowest_in_the_picture(name):
    surface = SURFACES[name]
    assert np.abs(surface.gradient(*surface.minimum)).max() < 1e-12
    grid = np.meshgrid(np.linspace(*surface.x_range, 401), np.linspace(*surface.y_range, 401))
    assert surface.value(*grid).min() >= surface.value(*surface.minimum)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", SURFACES)
def test_rate_zero_stays_at_the_start(name, rule):
    path = trail(SURFACES[name], RULES[rule], 0.0, steps=20)
    assert (path == SURFACES[name].start).all()


def test_rho_zero_is_sgd():
    sgd = own("ravine")(rule=rules.sgd)
    assert (own("ravine")(rule=rules.momentum, rho=0.0) == sgd).all()
    nesterov = own("ravine")(rule=rules.nesterov, rho=0.0)
    np.testing.assert_allclose(nesterov, sgd, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_many_rates_at_once_are_each_alone(rule):
    rates, rhos = np.array([0.001, 0.02])[:, None], np.array([0.5, 0.9])
    together = trail(SURFACES["noise"], RULES[rule], rates, rhos, steps=30)
    assert together.shape == (31, 2, 2, 2)
    alone = trail(SURFACES["noise"], RULES[rule], 0.02, 0.5, steps=30)
    assert (together[:, :, 1, 0] == alone).all()


def test_noise_is_a_function_of_seed_and_step_with_the_spread_it_says():
    surface = SURFACES["noise"]
    noise = partial(surface.noisy_gradient, 0.0, 0.0)
    drawn = np.array([noise(t, seed) for seed in (0, 1) for t in range(2000)])
    assert np.abs(drawn.mean(0)).max() < 4 * surface.noise / 4000**0.5
    assert drawn.std(0) == pytest.approx([surface.noise] * 2, rel=0.05)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.07
    assert noise(7, 1) == tuple(drawn[2007]) != tuple(drawn[7])


# what the lecture says


def test_sgd_stalls_at_the_saddle_and_the_others_leave_it():
    found = measured("saddle")
    assert found["sgd"].steps_to_leave is None
    assert found["sgd"].distance > 0.9  # the saddle is 1 away from the minimum
    leave = {name: f.steps_to_leave for name, f in found.items() if name != "sgd"}
    assert all(steps is not None and steps < 100 for steps in leave.values())
    assert leave["rmsprop"] < leave["adam"] < leave["momentum"]


def test_momentum_overshoots_and_sgd_does_not():
    found = measured("ravine")
    assert found["momentum"].overshoot > 1
    assert found["sgd"].overshoot == 0
    assert found["momentum"].distance < found["sgd"].distance / 100
    # and nesterov, which looks ahead, overshoots less
    assert 0 < found["nesterov"].overshoot < found["momentum"].overshoot


def test_momentum_rolls_over_the_hill_that_holds_sgd():
    found = measured("local")
    assert found["sgd"].steps_to_leave is None
    assert found["momentum"].distance < 0.01
    assert found["sgd"].distance == pytest.approx(1.0466805 + 0.9456493, abs=1e-3)


def test_adagrads_steps_die_and_rmsprops_do_not():
    """On a slope that never ends, AdaGrad's step t is rate / root of t; RMSProp's stays."""
    adagrad = -np.diff(trail(LINE, rules.adagrad, 0.02)[:, 0])
    rmsprop = -np.diff(trail(LINE, rules.rmsprop, 0.02, steps=2000)[:, 0])
    np.testing.assert_allclose(adagrad, 0.02 / np.arange(1, 201) ** 0.5, rtol=1e-6)
    assert rmsprop[-1] == pytest.approx(0.02, rel=1e-6)
    assert (rmsprop >= 0.02 * (1 - 1e-6)).all()
    found = measured("ravine")
    assert found["adagrad"].distance > 3 > 0.5 > found["rmsprop"].distance


def test_large_steps_tremble_in_noise_and_small_ones_settle():
    surface = SURFACES["noise"]
    rates = np.array([0.005, 0.1])
    end = trail(surface, rules.sgd, rates, steps=4000)[-2000:]
    small, large = np.hypot(end[:, 0], end[:, 1]).mean(0)
    assert small < large / 3


# what is read off a path


def test_a_divergent_path_says_where_it_left_and_its_line_ends_near():
    surface = SURFACES["ravine"]
    path = trail(surface, rules.sgd, 0.05)
    found = measure(surface, path)
    assert (found.left_picture, found.overshoot) == (1, 0)  # what it does out there is no overshoot
    assert found.distance > 1e6
    line = visible(surface, path)
    assert len(line) == 2
    direction = (path[1] - path[0]) / np.linalg.norm(path[1] - path[0])
    assert (line[1] - line[0]) / np.linalg.norm(line[1] - line[0]) == pytest.approx(direction)
    assert np.abs(line).max() < 30


def test_a_path_that_overflows_is_infinitely_far():
    found = measure(SURFACES["rosenbrock"], trail(SURFACES["rosenbrock"], rules.sgd, 0.1))
    assert found.distance == np.inf
    assert found.left_picture == 1


def test_a_path_that_comes_back_has_not_left():
    surface = SURFACES["ravine"]
    path = np.array([[-4.0, 0.8], [8.0, 0.0], [1e4, 0.0], [0.5, 0.0]])
    found = measure(surface, path)
    assert (found.left_picture, found.distance, found.overshoot > 8) == (None, 0.5, True)
    line = visible(surface, path)
    assert line[2].tolist() == [20.5, 0.0]  # two pictures beyond the edge at 3.5
    assert line[[0, 1, 3]].tolist() == path[[0, 1, 3]].tolist()
