"""The learning rate to start from, by rule, network and batch."""

from polyak.networks import compact

# peak rates to start from, for batches of 128 and a network from scratch
RATES = {
    "sgd": 0.1,
    "momentum": 0.05,
    "nesterov": 0.05,
    "adagrad": 0.02,
    "rmsprop": 1e-3,
    "adam": 1e-3,
    "adamw": 1e-3,
    "nadam": 1e-3,
    "lion": 1e-4,
    "muon": 0.02,
}
ADAPTIVE = {
    "adagrad",
    "rmsprop",
    "adam",
    "adamw",
    "nadam",
    "lion",
    "muon",
}  # step as long for any gradient


def usual_rate(model: str, optimizer: str, batch_size: int, *, scratch: bool) -> tuple[float, str]:
    """Give the peak rate to start from and why.

    Args:
        model: name of the network.
        optimizer: name of the update rule.
        batch_size: images a step.
        scratch: whether all weights are new; else they were trained before.

    >>> usual_rate("resnet18", "adamw", 64, scratch=True)
    (0.0005, 'start for adamw, scratch')
    """
    if model == "compact" and optimizer in compact.RATE_PER_PICTURE:
        rate = compact.RATE_PER_PICTURE[optimizer] * batch_size
        return float(f"{rate:.3g}"), "measured with compact, by batch size"
    if model == "compact" and optimizer == "muon":
        rate = compact.MUON_RATE * (batch_size / 128) ** 0.5
        return float(f"{rate:.3g}"), "measured with compact on CIFAR-10"
    if scratch:
        kind, share = "scratch", min(1.0, batch_size / 128)
    elif optimizer in ADAPTIVE:  # noise of such steps falls with the batch's root (Malladi 2022)
        kind, share = "fine-tuning", 0.5 * min(1.0, batch_size / 64) ** 0.5
    else:
        kind, share = "fine-tuning", 0.2 * min(1.0, batch_size / 128)
    return float(f"{RATES[optimizer] * share:.2g}"), f"start for {optimizer}, {kind}"


def beside_muon(
    model: str, batch_size: int, learning_rate: float, *, scratch: bool
) -> tuple[str, float]:
    """Give the rule of all that is no matrix, beside Muon, and its peak rate.

    Args:
        model: name of the network.
        batch_size: images a step.
        learning_rate: Muon's peak; half of what is usual halves the other's too.
        scratch: whether all weights are new.

    >>> beside_muon("resnet18", 128, 0.01, scratch=True)
    ('adamw', 0.0005)
    """
    rule = "nesterov" if model == "compact" else "adamw"
    own, _ = usual_rate(model, rule, batch_size, scratch=scratch)
    usual, _ = usual_rate(model, "muon", batch_size, scratch=scratch)
    return rule, own * learning_rate / usual
