"""A folder of images at any depth, without tables: they can be scored and localized, not trained or measured on."""

from stages.lib.images.dataset import Options, Tables
from stages.lib.images.listing import Listing

TAKES = {"label": "none"}
FLAT = False
HOME = ""
PARTIAL = False


def recognized(listing: Listing) -> bool:
    """Any folder."""
    return True


def holds(relative: str) -> bool:
    """Every image."""
    return True


def source(relative: str) -> str:
    """Images of a folder are of no known source."""
    return "other"


def tables(listing: Listing, options: Options) -> Tables:
    """Nothing."""
    return Tables()
