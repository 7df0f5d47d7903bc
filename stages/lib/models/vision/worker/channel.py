"""Messages between two processes: a JSON header, then arrays, each as the bytes of a .npy file."""

import io
import json
from collections.abc import Sequence
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

PREAMBLE = 10  # bytes of a .npy file before its header: magic, version, length of the header


def send(connection: Connection, header: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
    """Send a message: header, then arrays."""
    connection.send_bytes(json.dumps({**header, "arrays": len(arrays)}).encode())
    for array in arrays:
        connection.send_bytes(packed(array))


def receive(connection: Connection) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Header and arrays of the next message.

    Raises:
        EOFError: If the other side has closed the socket.
    """
    header = json.loads(connection.recv_bytes())
    return header, [unpacked(connection.recv_bytes()) for _ in range(header.pop("arrays"))]


def packed(array: np.ndarray) -> bytes:
    """An array as the bytes of a .npy file.

    >>> packed(np.zeros(2, np.uint8))[-2:]
    b'\\x00\\x00'
    """
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array, order="C"), allow_pickle=False)
    return stream.getvalue()


def unpacked(content: bytes) -> np.ndarray:
    """The array of `packed`; one of objects is refused, which would be unpickled.

    >>> unpacked(packed(np.arange(3, dtype=np.uint8))).tolist()
    [0, 1, 2]
    """
    begin = PREAMBLE + int.from_bytes(content[PREAMBLE - 2 : PREAMBLE], "little")
    shape, dtype = described(content[:begin])
    return np.frombuffer(content, dtype, offset=begin).reshape(shape).copy()


@lru_cache
def described(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type by the header of a .npy file, which is read once: that takes longer than its numbers."""
    stream = io.BytesIO(head)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("found an array of another version, wanted 1.0 of .npy files")
    shape, turned, dtype = np.lib.format.read_array_header_1_0(stream)
    if turned or dtype.hasobject:
        raise ValueError(f"found an array of {dtype}, wanted numbers in C order")
    return shape, dtype
