"""The model card: what a model is, what it learnt from, how good it is, and where that ends."""

import re
from pathlib import PurePath
from typing import Any

import jinja2
import yaml

from polyak import __version__
from polyak.errors import UsageError
from polyak.model import Classifier
from polyak.model.member import Member
from polyak.networks import hub
from polyak.networks.origin import SCRATCH, UNKNOWN, Origin
from polyak.targets import kind_facts

FIGURES = (
    ("map", "mean average precision", ".2%"),
    ("micro_f1", "micro F1", ".2%"),
    ("accuracy", "accuracy", ".2%"),
    ("nll", "negative log-likelihood", ".4f"),
    ("ece", "calibration error", ".2%"),
)


def card(classifier: Classifier, member: Member, licence: str | None = None) -> str:
    """Write the model card of one network, from what its model file says.

    Args:
        classifier: with the header of its file.
        member: its only running member.
        licence: as the user says; default what is known of the source weights.

    Raises:
        UsageError: that is no identifier of a licence.
    """
    if licence is not None and not re.fullmatch(r"[\w.+-]{1,64}", licence):
        why = "write an identifier of the hub, such as apache-2.0 or cc-by-4.0"
        raise UsageError("impossible --license", where=licence, why=why)
    header = classifier.header
    data = _table(header.get("data"))
    source, known = _source(header, member)
    head = {
        "license": licence or (known if known != SCRATCH else None) or "unknown",
        "library_name": "timm",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "timm", "polyak"],
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("polyak.export"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = plain
    return environment.get_template("card.md").render(
        head=yaml.safe_dump(head, sort_keys=False).strip(),
        name=member.spec["name"],
        classes=member.classes,
        several=classifier.kind.several,
        thresholds=kind_facts(classifier.kind).get("thresholds"),
        preprocessing=member.preprocessing,
        figures=_figures(header.get("evaluation")),
        measured=_table(header.get("evaluation")),
        data=data,
        views=member.views or classifier.views,
        source=source,
        licence=licence,
        known=known,
        version=header.get("polyak", __version__),
    )


def plain(text: object) -> str:
    r"""Make text from outside plain text of Markdown: no markup, no line of its own.

    >>> plain("<b>cat|dog</b>\n# x")
    '&#60;b&#62;cat&#124;dog&#60;&#47;b&#62;&#10;&#35; x'
    """
    safe = re.compile(r"[\w ,.%()+'-]", re.UNICODE)
    return "".join(c if safe.match(c) and c != "_" else f"&#{ord(c)};" for c in str(text)[:200])


def _source(header: dict[str, Any], member: Member) -> tuple[str, str | None]:
    """Name where the weights came from, without its place on a disk, and their licence if known."""
    if found := Origin.read(header.get("weights")):
        known = None if found.licence == UNKNOWN else found.licence
        return f"{found.name} ({found.source})", known
    weights = _table(header.get("recipe")).get("weights")
    if weights is None:
        return "nothing", None
    if hub.meant(str(weights)):  # of a polyak that did not write down where weights come from
        config: Any = getattr(member.network, "pretrained_cfg", {})
        return f"timm's weights of {member.spec['name']}", config.get("license")
    return PurePath(str(weights)).name, None


def _figures(measured: Any) -> list[tuple[str, str, str]]:
    """Lay out figures as (name, value, interval); none where the file tells none."""
    rows = []
    for name, words, form in FIGURES:
        figure = _table(_table(measured).get(name))
        parts = [figure.get(part) for part in ("value", "low", "high")]
        if all(isinstance(part, int | float) for part in parts):
            value, low, high = (f"{part:{form}}" for part in parts)
            if name == "accuracy" and "map" in _table(measured):
                words = "every label right"
            rows.append((words, value, f"{low} to {high}"))
    return rows


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
