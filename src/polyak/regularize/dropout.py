"""Dropout: random zeros while training, their expectation at test time.

What is drawn comes from torch's generator; seed it from (seed, step, rank) before the forward pass,
as polyak's training does, and a resumed run draws the same.
"""

from torch import Tensor, nn

from polyak.errors import UsageError

MODES = ("inverted", "vanilla")


class Dropout(nn.Module):
    """Set each number to zero with probability p, while in training mode.

    Args:
        p: probability to drop, 0 to below 1 (the slide's p is the probability to keep).
        mode: "inverted" divides what is kept by 1 - p while training and does nothing at test time;
            "vanilla" leaves training alone and multiplies by 1 - p at test time. Both have the same
            expectation, in training and at test time up to that factor.

    Shapes: any floating (...) to the same.

    Raises:
        UsageError: p is not in [0, 1), or the mode is neither.

    Source: slides "Regularization: Dropout" and "More common: Inverted dropout"; Srivastava et al.,
    JMLR 2014.

    >>> import torch
    >>> Dropout(0.5)(torch.ones(1000)).unique().tolist()
    [0.0, 2.0]
    >>> Dropout(0.5, mode="vanilla").eval()(torch.ones(4)).tolist()
    [0.5, 0.5, 0.5, 0.5]
    """

    def __init__(self, p: float = 0.5, mode: str = "inverted"):
        super().__init__()
        if not 0 <= p < 1:
            then = "take 0 to below 1; 0.5 for large linear layers, 0.1 to 0.2 for convolutions"
            raise UsageError("a rate to drop is out of range", where=str(p), then=then)
        if mode not in MODES:
            raise UsageError("no such dropout", where=mode, then=f"choose {' or '.join(MODES)}")
        self.p = p
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """Drop in training mode; give the expectation in evaluation mode."""
        if self.p == 0:
            return x
        keep = 1 - self.p
        if not self.training:
            return x * keep if self.mode == "vanilla" else x
        mask = x.new_empty(self.mask_shape(x)).bernoulli_(keep)
        return x * (mask / keep if self.mode == "inverted" else mask)

    def mask_shape(self, x: Tensor) -> tuple[int, ...]:
        """Say which numbers share a fate: here none do."""
        return tuple(x.shape)

    def extra_repr(self) -> str:
        """Tell rate and mode where the module is printed."""
        return f"p={self.p}, mode={self.mode!r}"


class SpatialDropout(Dropout):
    """Drop whole channels: neighbours in a feature map are too alike to be dropped one by one.

    Shapes: (N, C, ...) to the same; each of the N x C maps is kept or dropped whole.

    Source: Tompson et al., CVPR 2015.

    >>> import torch
    >>> maps = SpatialDropout(0.5)(torch.ones(2, 100, 4, 4))
    >>> bool((maps.amax((2, 3)) == maps.amin((2, 3))).all())
    True
    """

    def mask_shape(self, x: Tensor) -> tuple[int, ...]:
        """One fate for each channel of each image."""
        return (*x.shape[:2], *[1] * (x.ndim - 2))


class StochasticDepth(Dropout):
    """Drop a residual branch whole, image by image: the block is then the identity.

    Shapes: (N, ...) to the same; put it on the branch, before it is added.

    Source: Huang et al., "Deep networks with stochastic depth", ECCV 2016.

    >>> import torch
    >>> sorted(set(StochasticDepth(0.5)(torch.ones(100, 3)).sum(1).tolist()))
    [0.0, 6.0]
    """

    def mask_shape(self, x: Tensor) -> tuple[int, ...]:
        """One fate for each image."""
        return (len(x), *[1] * (x.ndim - 1))
