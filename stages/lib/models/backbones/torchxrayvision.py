"""Vision models of TorchXRayVision, by a process of the vision environment: folders that `convert` wrote."""

from stages.lib.models.vision.client import load

__all__ = ["load"]
