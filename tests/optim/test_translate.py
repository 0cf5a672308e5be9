"""What a rule becomes before it is compiled."""

import inspect

import numpy as np
import pytest

from polyak.optim import rules
from polyak.optim.translate import signature, translate

RULES = ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "nadam", "lion", "polyak"]
HYPER = {"learning_rate": 0.1, "t": 3.0, "rho": 0.9, "decay_rate": 0.99, "eps": 1e-7, "beta1": 0.9,
         "beta2": 0.999, "mu": 0.45, "mu_next": 0.46, "mu_product": 0.09, "decay": 0.9}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("precision", [np.float64, None])
def test_a_translated_rule_computes_the_same(name, precision):
    rule = getattr(rules, name)
    names = signature(rule)
    hyper = {key: HYPER[key] for key in names.hyper}
    numbers = [2.0, -0.5, *[0.25, 4.0][: len(names.state)]]
    translated = translate(rule, precision)
    assert translated.element(*numbers, translated.constants(hyper)) == pytest.approx(
        rule(*numbers, **hyper), rel=1e-14
    )


@pytest.mark.parametrize("name", RULES)
def test_single_precision_stays_single(name):
    rule = getattr(rules, name)
    translated = translate(rule, np.float32)
    hyper = {key: HYPER[key] for key in signature(rule).hyper}
    constants = tuple(np.float32(c) for c in translated.constants(hyper))
    numbers = [np.float32(v) for v in (2, -0.5, 0.25, 4)[: 2 + len(signature(rule).state)]]
    kinds = {type(value) for value in translated.element(*numbers, constants) if value is not None}
    assert kinds <= {np.float32, float}  # math.sqrt gives Python floats outside the compiler


def test_what_hyperparameters_decide_is_computed_once():
    constants = translate(rules.adam, np.float32).constants(
        {k: HYPER[k] for k in signature(rules.adam).hyper}
    )
    assert 1 - 0.999**3 in constants
    assert 1 - 0.9**3 in constants


def shadowing(x, dx, learning_rate):
    learning_rate = learning_rate / 2
    return (x - learning_rate * dx,)


@pytest.mark.parametrize(
    ("rule", "why"),
    [(shadowing, "assigns to its hyperparameter learning_rate"), (max, "cannot be read")],
)
def test_what_cannot_be_translated_says_why(rule, why):
    with pytest.raises(ValueError, match=why):
        translate(rule, np.float32)


@pytest.mark.parametrize("name", RULES)
def test_the_signature_is_the_specification(name):
    rule = getattr(rules, name)
    names = list(inspect.signature(rule).parameters)
    assert names == [*names[:2], *signature(rule).state, *signature(rule).hyper]
    assert not {"learning_rate", "t", "decay"} & set(signature(rule).state)
