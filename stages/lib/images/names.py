"""Names of images: what may be opened, how a name in a table finds its file, and what a name tells of the patient."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
MAX_NAME_BYTES = 230  # of the 255 a file system allows; a file that is being written has a longer name
# A copy keeps the name of ChestX-ray14 in some form: "Copy of 00000012_000.png", "00000012_000_512.png". The patients
# there are numbered from 1 to 30805, so that a date is none of them.
NIH_NAME = re.compile(r"(?<![0-9])(000[0-3][0-9]{4})_[0-9]{3}(?![0-9])")
NIH_PATIENTS = 30805
ENDINGS = (".dcm.gz", ".png", ".dcm", ".dicom", ".ima", ".jpg", ".jpeg", ".tif", ".tiff", ".mha", ".img")
NOT_AN_ID = frozenset(
    ("", "-", "?", "n/a", "#n/a", "<na>", "na", "nan", "none", "null", "nil", "unknown", "anonymous", "anonymized")
)


def png_name(image_id: str) -> str:
    """A file name for the normalized image: any id gives one plain name, and no two ids the same.

    >>> png_name("00000012_000"), png_name("../a b")
    ('00000012_000.png', '..%2Fa%20b.png')
    """
    return quote(image_id, safe="") + ".png"


def nih_patient(stem: str) -> str | None:
    """Patient of an image named as in ChestX-ray14 (patient, underscore, number of the image), or of a copy of one.

    >>> nih_patient("00000012_001"), nih_patient("Copy of 00000012_001 (2)")
    ('nih-00000012', 'nih-00000012')
    >>> nih_patient("20240131_001") is None, nih_patient("0026") is None
    (True, True)
    """
    found = set(NIH_NAME.findall(stem))
    if len(found) != 1 or not 1 <= int(min(found)) <= NIH_PATIENTS:
        return None
    return f"nih-{found.pop()}"


def known_id(text: str | None) -> str | None:
    """An id, stripped; None for nothing, and for words that stand for nothing.

    >>> known_id(" P1 "), known_id("NaN"), known_id("")
    ('P1', None, None)
    """
    stripped = (text or "").strip()
    return None if stripped.casefold() in NOT_AN_ID else stripped


def without_ending(name: str) -> str:
    """A name without the ending of an image, if it has one.

    >>> without_ending("a.b.PNG"), without_ending("a.dcm.gz"), without_ending("1.2.840")
    ('a.b', 'a', '1.2.840')
    """
    lower = name.lower()
    if not lower.endswith(ENDINGS):
        return name
    ending = next(ending for ending in ENDINGS if lower.endswith(ending))
    return name[: -len(ending)] or name


def match_key(name: str) -> str:
    """What two spellings of one path have in common: no ending, no letter case, one form of Unicode, plain slashes.

    >>> match_key("a\\\\B.PNG") == match_key("./a//b")
    True
    """
    if "\\" in name or "/" in name:
        name = "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))
    key = without_ending(name)
    return key.lower() if key.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFC", key).casefold())


def stem_key(name: str) -> str:
    """What the names of a file have in common that was converted: the last part of the path, as `match_key`.

    >>> stem_key("a/JPCLN001.IMG") == stem_key("jpcln001.png")
    True
    """
    return match_key(name).rpartition("/")[2]


def by_stem(found: Iterable[str]) -> dict[str, str]:
    """Names of files by their `stem_key`; the first of several.

    >>> by_stem(["JPCLN001.png"])
    {'jpcln001': 'JPCLN001.png'}
    """
    by_key: dict[str, str] = {}
    for name in found:
        by_key.setdefault(stem_key(name), name)
    return by_key


def shown(text: str) -> str:
    """`text` as it can be stored: bytes of a file name that are not UTF-8 are spelt out."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def too_long(image_id: str) -> str | None:
    """Why no file can be named after an image, None if one can."""
    if len(image_id) * 3 <= MAX_NAME_BYTES - 4 and image_id.isascii():
        return None
    quoted = len(png_name(image_id))
    if quoted <= MAX_NAME_BYTES:
        return None
    return f"its name is too long: quoted, it has {quoted} bytes, wanted at most {MAX_NAME_BYTES}"


def leaves(path: Path, base: Path) -> bool:
    """Whether `path` is a link that leads out of the folder `base`."""
    if not path.is_symlink():
        return False
    try:
        return not path.resolve().is_relative_to(base.resolve())
    except (OSError, RuntimeError):  # a loop of links
        return True


def is_plain(name: str) -> bool:
    """Whether a name in a table is a file below the folder: relative, without dots that climb or control characters."""
    parts = name.replace("\\", "/").split("/")
    return (
        bool(name) and not Path(name).is_absolute() and ".." not in parts and name != "." and not CONTROL.search(name)
    )
