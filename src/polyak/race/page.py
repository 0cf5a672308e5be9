"""One self-contained page: everything inlined, nothing fetched, nothing from outside executed."""

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from polyak import __version__

# marks and dashes besides colours: not everybody tells red from green
LOOKS = {
    "sgd": ("#d9483b", "solid", "circle"),
    "momentum": ("#2f7fd9", "solid", "square"),
    "nesterov": ("#12a07c", "dash", "diamond"),
    "adagrad": ("#e08a00", "dot", "triangle-up"),
    "rmsprop": ("#9154cc", "dashdot", "triangle-down"),
    "adam": ("#d84a9b", "solid", "cross"),
    "adamw": ("#8a6b4a", "dash", "x"),
    "nadam": ("#6a8f1f", "dot", "pentagon"),
    "lion": ("#0f9fb5", "dashdot", "star"),
    "muon": ("#444444", "solid", "hexagon"),
}


def render(template: str, script: str, data: object, **words: object) -> str:
    """Fill a template of this room; scripts are ours alone, and the browser checks their hashes.

    Args:
        template: name of the page's HTML file.
        script: name of its JavaScript file.
        data: what the script shows; any plain JSON.
        words: what the template shows; escaped.
    """
    environment = Environment(
        loader=PackageLoader("polyak.race"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    scripts = [_plotly(), _text("shared.js"), _text(script)]
    return environment.get_template(template).render(
        style=Markup(_text("page.css")),
        scripts=[Markup(text) for text in scripts],
        policy=policy(scripts),
        data={"looks": LOOKS, **data} if isinstance(data, dict) else data,
        version=__version__,
        **words,
    )


def policy(scripts: list[str]) -> str:
    """Write the Content-Security-Policy: these scripts, inline styles and nothing else.

    >>> policy([""])[:60]
    "default-src 'none'; script-src 'sha256-47DEQpj8HBSa+/TImW+5J"
    """
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()) for text in scripts]
    allowed = " ".join(f"'sha256-{word.decode()}'" for word in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _text(name: str) -> str:
    return files("polyak.race").joinpath("templates", name).read_text(encoding="utf-8")


def _plotly() -> str:
    """Read plotly.js as the installed plotly carries it, without importing plotly."""
    text = files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    assert "</script" not in text.lower()
    return text
