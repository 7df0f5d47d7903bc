"""GPUs that a local run may use."""

import os
import subprocess


def count() -> int:
    """Number of GPUs, 1 where there is none: jobs that want one then still run one after the other.

    CUDA_VISIBLE_DEVICES counts if it is set, else the answer of nvidia-smi.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return max(len([name for name in visible.split(",") if name.strip() not in ("", "-1")]), 1)
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 1
    return max(sum(line.startswith("GPU ") for line in done.stdout.splitlines()), 1)
