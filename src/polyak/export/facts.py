"""What an exported file says of itself, so that whoever meets it alone can use it."""

import json

from polyak import __version__
from polyak.model import Classifier
from polyak.targets import kind_facts


def facts(classifier: Classifier, bare: bool = False) -> dict[str, str]:
    """Describe a classifier for a file's metadata, every value as text: JSON but for the version.

    Class names and preprocessing stand there even where the graph holds the latter.
    """
    members = [member for member in classifier.members if member.weight > 0]
    prepared = list(dict.fromkeys(member.preprocessing for member in members))
    views = ["one" if bare else member.views or classifier.views for member in members]
    written = {
        "classes": list(classifier.classes),
        "preprocessing": [one.as_facts() for one in prepared],
        "views": list(dict.fromkeys(views)),
        "members": len(members),
        "evaluation": classifier.header.get("evaluation"),
        **kind_facts(classifier.kind),
    }
    return {"polyak_version": __version__, **{k: json.dumps(v) for k, v in written.items()}}


def inputs(classifier: Classifier, bare: bool = False) -> tuple[str, str]:
    """Say in a line each what goes into an exported graph, and what comes out."""
    k = len(classifier.classes)
    bits = min(member.preprocessing.bits for member in classifier.members if member.weight > 0)
    if not bare:
        into = "images: uint8 (batch, height, width, 3), RGB, decoded, of any size"
        into += f"; levels of 16-bit files times 255 / {(1 << bits) - 1}" if bits < 16 else ""
        each = ", of each label" if classifier.kind.several else ""
        return into, f"probabilities: float32 (batch, {k}){each}"
    member = next(member for member in classifier.members if member.weight > 0)
    height, width = member.preprocessing.size
    into = f"images: float32 (batch, 3, {height}, {width}), RGB in [0, 1] less mean, over std"
    squash = "sigmoid" if classifier.kind.several else "softmax"
    return into, f"logits: float32 (batch, {k}), whose {squash} is the probabilities"
