"""CS231n lecture 7's update rules, each once, as the slides write them.

    x, *state = rule(x, dx, *state, learning_rate, ...)

What stands between `dx` and `learning_rate` is state and starts at zero. `t` counts steps from 1.
There is nothing to import: the same text runs on numbers, fractions, arrays and tensors, and
element by element in compiled loops. Roots are written `** 0.5`. A rule of your own is a function
of this shape; see `polyak.optim.optimizer_of`.
"""


def sgd(x, dx, learning_rate):
    """Step against the gradient (slide 'SGD'; the slide's `+=` means `-=`, as its equation says).

    >>> sgd(1.0, 0.5, learning_rate=0.5)
    (0.75,)
    """
    x = x - learning_rate * dx
    return (x,)


def momentum(x, dx, velocity, learning_rate, rho=0.9):
    """Build up velocity as a running sum of gradients (slide 'SGD+Momentum'; Polyak 1964).

    >>> momentum(1.0, 0.5, 1.0, learning_rate=0.5, rho=0.5)
    (0.5, 1.0)
    """
    velocity = rho * velocity + dx
    x = x - learning_rate * velocity
    return x, velocity


def nesterov(x, dx, velocity, learning_rate, rho=0.9):
    """Look ahead along the velocity, then correct (slide 'Nesterov Momentum'; Nesterov 1983).

    The velocity holds the learning rate, as on the slide: a new rate bends the path, it does not
    kick it.

    >>> nesterov(1.0, 0.5, 0.0, learning_rate=0.5, rho=0.5)
    (0.625, -0.25)
    """
    old_velocity = velocity
    velocity = rho * velocity - learning_rate * dx
    x = x - rho * old_velocity + (1 + rho) * velocity
    return x, velocity


def adagrad(x, dx, grad_squared, learning_rate, eps=1e-7):
    """Divide by the root of all squared gradients so far: steps shrink and die (slide 'AdaGrad';
    Duchi 2011).

    >>> adagrad(1.0, 3.0, 16.0, learning_rate=5.0, eps=0)
    (-2.0, 25.0)
    """
    grad_squared = grad_squared + dx * dx
    x = x - learning_rate * dx / (grad_squared**0.5 + eps)
    return x, grad_squared


def rmsprop(x, dx, grad_squared, learning_rate, decay_rate=0.99, eps=1e-7):
    """Divide by the root of recent squared gradients: steps stay alive (slide 'RMSProp'; Tieleman &
    Hinton 2012).

    >>> rmsprop(1.0, 4.0, 2.0, learning_rate=3.0, decay_rate=0.5, eps=0)
    (-3.0, 9.0)
    """
    grad_squared = decay_rate * grad_squared + (1 - decay_rate) * dx * dx
    x = x - learning_rate * dx / (grad_squared**0.5 + eps)
    return x, grad_squared


def adam(x, dx, first_moment, second_moment, learning_rate, t, beta1=0.9, beta2=0.999, eps=1e-7):
    """Momentum over RMSProp, both corrected for starting at zero (slide 'Adam'; Kingma & Ba 2014).

    >>> adam(1.0, 4.0, 0.0, 0.0, learning_rate=0.5, t=1, beta1=0.5, beta2=0.75, eps=0)
    (0.5, 2.0, 4.0)
    """
    first_moment = beta1 * first_moment + (1 - beta1) * dx
    second_moment = beta2 * second_moment + (1 - beta2) * dx * dx
    first_unbias = first_moment / (1 - beta1**t)
    second_unbias = second_moment / (1 - beta2**t)
    x = x - learning_rate * first_unbias / (second_unbias**0.5 + eps)
    return x, first_moment, second_moment


def nadam(
    x, dx, first_moment, second_moment, learning_rate, t,
    mu, mu_next, mu_product, beta1=0.9, beta2=0.999, eps=1e-7,
):  # fmt: skip
    """Adam that looks ahead as Nesterov does; `mu` is the momentum of this step (Dozat 2016,
    algorithm 2).

    `mu_next` is the momentum of the next step and `mu_product` the product of all up to this one.

    >>> mu = {"mu": 0.5, "mu_next": 0.5, "mu_product": 0.5, "beta1": 0.5, "beta2": 0.75}
    >>> nadam(1.0, 4.0, 0.0, 0.0, learning_rate=0.75, t=1, **mu, eps=0)
    (0.0, 2.0, 4.0)
    """
    first_moment = beta1 * first_moment + (1 - beta1) * dx
    second_moment = beta2 * second_moment + (1 - beta2) * dx * dx
    look_ahead = (
        mu_next / (1 - mu_product * mu_next) * first_moment + (1 - mu) / (1 - mu_product) * dx
    )
    second_unbias = second_moment / (1 - beta2**t)
    x = x - learning_rate * look_ahead / (second_unbias**0.5 + eps)
    return x, first_moment, second_moment


def lion(x, dx, first_moment, learning_rate, beta1=0.9, beta2=0.99):
    """Step by the sign of an interpolated momentum, the same length everywhere (Chen et al. 2023).

    >>> lion(1.0, -3.0, 1.0, learning_rate=0.5, beta1=0.5, beta2=0.5)
    (1.5, -1.0)
    """
    direction = beta1 * first_moment + (1 - beta1) * dx
    # the sign, in the direction's own precision, for numbers and tensors alike
    sign = (direction > 0) * 1.0 - (direction < 0) * 1.0 + 0 * direction
    x = x - learning_rate * sign
    first_moment = beta2 * first_moment + (1 - beta2) * dx
    return x, first_moment


def muon(x, dx, velocity, learning_rate, rho=0.95):
    """Step by the matrix sign of the momentum, so that every direction moves alike (Jordan et al.
    2024). `x` is a matrix; a convolution is one with a row for each filter.

    >>> import numpy as np
    >>> x, dx = np.zeros((2, 2)), np.array([[3.0, 0.0], [0.0, -0.1]])
    >>> muon(x, dx, 0 * x, learning_rate=0.1)[0].round(1).tolist()
    [[-0.1, 0.0], [0.0, 0.1]]
    """
    velocity = rho * velocity + (1 - rho) * dx
    look_ahead = rho * velocity + (1 - rho) * dx
    x = x - learning_rate * matrix_sign(look_ahead)
    return x, velocity


def matrix_sign(m):
    """Bring all singular values of a matrix near 1 and keep its directions, by five steps of
    Newton and Schulz with the coefficients of Jordan et al. 2024; a tall matrix gets the root of
    its rows over its columns times as much.

    >>> import numpy as np
    >>> np.linalg.svd(matrix_sign(np.diag([5.0, 1.0])), compute_uv=False).round(1).tolist()
    [0.8, 0.7]
    """
    rows = m.reshape(len(m), -1)
    more = max(1, rows.shape[0] / rows.shape[1]) ** 0.5
    sign = rows / ((rows * rows).sum() ** 0.5 + 1e-7)
    if more > 1:
        sign = sign.T
    for _ in range(5):
        square = sign @ sign.T
        sign = 3.4445 * sign + (2.0315 * square @ square - 4.7750 * square) @ sign
    if more > 1:
        sign = sign.T
    return more * sign.reshape(m.shape)


def polyak(x_test, x, decay=0.995):
    """Average the weights exponentially, test with the average (slide 'Polyak averaging'; Polyak &
    Juditsky 1992).

    >>> polyak(1.0, 3.0, decay=0.75)
    (1.5,)
    """
    x_test = decay * x_test + (1 - decay) * x
    return (x_test,)


def mean(x_test, x, n):
    """Average the weights uniformly; `n` counts from 1 (Izmailov et al. 2018: stochastic weight
    averaging).

    >>> mean(2.0, 5.0, n=3)[0]
    3.0
    """
    return polyak(x_test, x, uniform_decay(n))


def uniform_decay(n):
    """Give the decay with which `polyak` is the mean of `n` weights so far.

    >>> uniform_decay(4)
    0.75
    """
    return (n - 1) / n
