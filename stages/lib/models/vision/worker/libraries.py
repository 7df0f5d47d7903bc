"""The libraries whose models are opened."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.models.vision.worker import from_open_clip, from_timm, from_torchxrayvision
from stages.lib.models.vision.worker.opened import Opened

LIBRARIES: Mapping[str, Callable[[Path, str, int], Opened]] = {
    "timm": from_timm.load,
    "torchxrayvision": from_torchxrayvision.load,
    "open_clip": from_open_clip.load,
}
# What the small files alone say: the same refusals before a process is started.
EXAMINED: Mapping[str, Callable[[Path, str, int], tuple[dict[str, Any], np.ndarray]]] = {
    "timm": from_timm.examine,
    "torchxrayvision": from_torchxrayvision.examine,
    "open_clip": from_open_clip.examine,
}
