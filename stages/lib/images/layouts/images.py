"""The images of a folder and nothing else: no table is read, so that none can contradict another. For `predict`."""

from stages.lib.images.dataset import Options, Tables
from stages.lib.images.listing import Listing

TAKES = {"label": "none", "patient": "the name of an NIH image, or the DICOM header"}
FLAT = False
HOME = ""
PARTIAL = False


def recognized(listing: Listing) -> bool:
    """No folder: it is taken only by its name."""
    return False


def holds(relative: str) -> bool:
    """Every image."""
    return True


def source(relative: str) -> str:
    """Images of a folder are of no known source."""
    return "other"


def tables(listing: Listing, options: Options) -> Tables:
    """Nothing."""
    return Tables()
