"""Types of the rules: whatever knows arithmetic goes in and comes out, numbers, arrays, tensors."""

from typing import Any

Number = Any  # float, Fraction, array, tensor: one text runs on all of them

def sgd(x: Number, dx: Number, learning_rate: Number) -> tuple[Number]: ...
def momentum(
    x: Number, dx: Number, velocity: Number, learning_rate: Number, rho: Number = 0.9
) -> tuple[Number, Number]: ...
def nesterov(
    x: Number, dx: Number, velocity: Number, learning_rate: Number, rho: Number = 0.9
) -> tuple[Number, Number]: ...
def adagrad(
    x: Number, dx: Number, grad_squared: Number, learning_rate: Number, eps: Number = 1e-7
) -> tuple[Number, Number]: ...
def rmsprop(
    x: Number,
    dx: Number,
    grad_squared: Number,
    learning_rate: Number,
    decay_rate: Number = 0.99,
    eps: Number = 1e-7,
) -> tuple[Number, Number]: ...
def adam(
    x: Number,
    dx: Number,
    first_moment: Number,
    second_moment: Number,
    learning_rate: Number,
    t: Number,
    beta1: Number = 0.9,
    beta2: Number = 0.999,
    eps: Number = 1e-7,
) -> tuple[Number, Number, Number]: ...
def nadam(
    x: Number,
    dx: Number,
    first_moment: Number,
    second_moment: Number,
    learning_rate: Number,
    t: Number,
    mu: Number,
    mu_next: Number,
    mu_product: Number,
    beta1: Number = 0.9,
    beta2: Number = 0.999,
    eps: Number = 1e-7,
) -> tuple[Number, Number, Number]: ...
def lion(
    x: Number,
    dx: Number,
    first_moment: Number,
    learning_rate: Number,
    beta1: Number = 0.9,
    beta2: Number = 0.99,
) -> tuple[Number, Number]: ...
def muon(
    x: Number, dx: Number, velocity: Number, learning_rate: Number, rho: Number = 0.95
) -> tuple[Number, Number]: ...
def matrix_sign(m: Number) -> Number: ...
def polyak(x_test: Number, x: Number, decay: Number = 0.995) -> tuple[Number]: ...
def mean(x_test: Number, x: Number, n: Number) -> tuple[Number]: ...
def uniform_decay(n: Number) -> Number: ...
