"""A finished classifier for other programs: ONNX, torch.export, a folder for timm and the hub."""

from polyak.export.check import Agreement
from polyak.export.hub import best_member, to_hub
from polyak.export.onnx_file import to_onnx
from polyak.export.trace import to_torch

__all__ = ["Agreement", "best_member", "to_hub", "to_onnx", "to_torch"]
