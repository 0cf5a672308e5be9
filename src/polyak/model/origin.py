"""Where the weights of a run come from, and under which licence: read, never guessed."""

import hashlib
from pathlib import Path

from polyak.model import Classifier
from polyak.model.known_splits import file_of
from polyak.networks import hub, pretrained
from polyak.networks.build import pretrained_config
from polyak.networks.origin import SCRATCH, UNKNOWN, Origin
from polyak.networks.weights import metadata_of


def origin_of(weights: str | None, model: str, source: Classifier | None = None) -> Origin | None:
    """Say where the weights come from that a run starts from; None where it starts from nothing.

    Args:
        weights: as `check` takes them, but for "auto".
        model: name of the network.
        source: the earlier model, where they are of one.

    >>> origin_of("tf_efficientnet_lite0", "tf_efficientnet_lite0").licence
    'apache-2.0'
    """
    if weights is None:
        return None
    if one := pretrained.named(weights):
        return one.origin
    if hub.meant(weights):
        config = pretrained_config(model)
        place = str(config.get("hf_hub_id") or "timm")
        return Origin(model, place, licence=str(config.get("license") or UNKNOWN).lower())
    path, named = file_of(weights), Path(weights).resolve().name
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if source is not None:
        before = Origin.read(source.header.get("weights"))
        started = isinstance(recipe := source.header.get("recipe"), dict) and recipe.get("weights")
        own = UNKNOWN if started else SCRATCH
        return Origin(named, "polyak", sha256, before.licence if before else own)
    return Origin(named, "file", sha256, _stated(metadata_of(path)))


def _stated(metadata: dict[str, str]) -> str:
    """Read the licence that a file of weights states."""
    text = metadata.get("license") or metadata.get("licence") or UNKNOWN
    return text.strip().lower()[:64]
