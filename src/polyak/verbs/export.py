"""`polyak export`: a finished model for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from polyak.errors import UsageError, shown
from polyak.options import File, Number, Text, option, parse, pixels

# how the export beside a model ends
ENDINGS = {"onnx": ".onnx", "torch-export": ".pt2", "hf": "-hf"}


@dataclass
class Options:
    """Write a model for programs that know nothing of polyak, and check it on 64 images before it
    gets its name: the same class, probabilities within 0.0001.

    onnx and torch-export hold all that follows decoding: they take a batch of RGB images of any
    one size, uint8 (batch, height, width, 3), resize, crop and normalise as polyak does, run all
    members and views, and give probabilities. hf is a folder that timm loads, of one network.

    Examples: polyak export runs/photos --to onnx
              polyak export joined.safetensors --to onnx --data photos
              polyak export runs/photos --to hf --license cc-by-4.0
    """

    model: Annotated[str, tyro.conf.Positional, option("MODEL")]
    """run directory or model file"""
    to: Literal["onnx", "torch-export", "hf"] = "onnx"
    """ONNX, torch's .pt2, or a folder with safetensors, timm's config.json and a model card"""
    out: File = None
    """file or folder to write; default beside the model: model.onnx, model.pt2, model-hf"""
    bare: bool = False
    """leave preparing out: normalised float32 (batch, 3, height, width) in, logits out, one view"""
    data: Text = None
    """images to check with, files below a folder; default made-up ones of four sizes"""
    max_pixels: Text = None
    """of an image; larger ones are left out: 120M, 1G; default as trained"""
    kind: Text = None
    """which weights of the file: average, weights, soup, snapshot, members; default as chosen"""
    opset: Number = None
    """version of ONNX's operators, for an older runtime; default torch's own choice"""
    license: Text = None
    """for hf's model card: an identifier of the hub; default what is known of the source weights"""


def run(arguments: list[str]) -> int:
    """Write the export; say how it compares, what goes in and what comes out."""
    options = parse(Options, arguments, "polyak export")
    formats = {"bare": ("onnx", "torch-export"), "license": ("hf",), "opset": ("onnx",)}
    for name, to in formats.items():
        given = getattr(options, name)
        if given is not None and given is not False and options.to not in to:
            raise UsageError(f"--{name} goes with --to {' or '.join(to)}")
    from polyak.export import best_member, onnx_file, to_hub, to_onnx, to_torch
    from polyak.export.facts import inputs
    from polyak.files import check_writable
    from polyak.model import load

    if options.to == "onnx":
        onnx_file.check_installed()
    out = options.out or beside(Path(options.model), options.to)
    model = load(options.model, kind=options.kind)
    model.pixel_cap = pixels(options.max_pixels, options.model)
    check_writable(out.parent)
    chosen = {"data": options.data}
    if options.to == "hf":
        model, line = best_member(model)
        if line:
            print(f"note: {line}")
        agreement = to_hub(model, out, licence=options.license, **chosen)
    elif options.to == "onnx":
        agreement = to_onnx(model, out, bare=options.bare, opset=options.opset, **chosen)
    else:
        agreement = to_torch(model, out, bare=options.bare, **chosen)
    by = {"onnx": "onnxruntime", "torch-export": "torch.export.load", "hf": "timm"}[options.to]
    print(f"checked with {by}: {agreement}")
    if options.to != "hf":
        for line in inputs(model, options.bare):
            print(line)
    print(f"written: {shown(str(out))}")
    return 0


def beside(model: Path, to: str) -> Path:
    """Name the export by its model: runs/a becomes runs/a/model.onnx, b.safetensors b.onnx.

    >>> str(beside(Path("b.safetensors"), "hf"))
    'b-hf'
    """
    file = model / "model.safetensors" if model.is_dir() else model
    return file.with_name(file.stem + ENDINGS[to])
