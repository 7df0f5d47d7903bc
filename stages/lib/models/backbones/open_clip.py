"""Vision towers of models of open_clip, by a process of the vision environment."""

from stages.lib.models.vision.client import load

__all__ = ["load"]
