"""Isolated processes for foreign code: without network, token or the user's environment.

A prefix of the command (`unshare`, of util-linux) takes the network away where the system allows it; where it does not,
the caller says so. The process can still read the user's files: this is a guard against accidents, not against malice.
Only code at a pinned commit should be run.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

# The first that works is taken. With -m the process has its own mounts too; -r maps the user to root inside.
WAYS = (("-n", "-m"), ("-r", "-n", "-m"), ("-r", "-n"), ("-U", "-n"))
KEPT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "CUDA_HOME",
    "CUDA_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "PYTORCH_CUDA_ALLOC_CONF",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
)


def without_network(timeout_s: float = 20.0) -> list[str] | None:
    """Prefix of a command that runs it without a network; None if this system does not allow it.

    Args:
        timeout_s: How long one attempt may take, seconds.
    """
    program = shutil.which("unshare")
    if program is None:
        return None
    for way in WAYS:
        prefix = [program, *way]
        try:
            done = subprocess.run(
                [*prefix, "cat", "/proc/net/route"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0 and len(done.stdout.strip().splitlines()) <= 1:
            return prefix
    return None


def environment(private: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Environment of the process: what is on the list of `environ`, and homes of its own below `private`.

    >>> found = environment(Path("/tmp/a"), {"HF_TOKEN": "hf_secret", "PATH": "/bin", "AWS_SECRET": "x"})
    >>> found["HOME"], found["PATH"], "HF_TOKEN" in found, "AWS_SECRET" in found
    ('/tmp/a/home', '/bin', False, False)
    """
    found = {name: environ[name] for name in KEPT if name in environ}
    homes = {
        "HOME": "home",
        "TMPDIR": "tmp",
        "XDG_CACHE_HOME": "cache",
        "HF_HOME": "huggingface",
        "HF_MODULES_CACHE": "modules",
        "MPLCONFIGDIR": "matplotlib",
        "TRITON_CACHE_DIR": "triton",
    }
    found |= {name: str(private / folder) for name, folder in homes.items()}
    return found | {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_ALBUMENTATIONS_UPDATE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def start(
    command: Sequence[str], private: Path, log: Path, environ: Mapping[str, str], sockets: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Running process: its working folder is `private`, its output goes to `log`, and it has no input.

    Args:
        command: What to run, with the prefix of `without_network`.
        private: An empty folder of its own.
        log: File that standard output and error are added to.
        environ: The environment to choose from.
        sockets: Numbers of open sockets that it inherits.
    """
    own = environment(private, environ)
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "HF_HOME", "HF_MODULES_CACHE"):
        Path(own[name]).mkdir(mode=0o700, exist_ok=True)
    with log.open("ab") as words:
        return subprocess.Popen(
            command,
            cwd=private,
            env=own,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=sockets,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that `start` began, and all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
