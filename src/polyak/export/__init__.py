"""A finished classifier for other programs: ONNX, torch.export, a folder for timm and the hub."""

from polyak.export.check import Agreement
from polyak.export.hub import to_hub
from polyak.export.onnx_file import to_onnx
from polyak.export.trace import to_torch

__all__ = ["Agreement", "to_hub", "to_onnx", "to_torch"]
