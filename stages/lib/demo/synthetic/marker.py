"""A marker to plant: a bright bar in a corner, outside the lungs, where what is around it is darkest."""

import numpy as np

BRIGHT = 0.98
LONG_FRACTION, WIDE_FRACTION = 0.07, 0.045  # of the image's width
PLACES = tuple((x, y) for y in (0.11, 0.17, 0.25) for x in (0.12, 0.88))  # fractions of width and height
TURN_RADIANS = 0.25


def marked(density: np.ndarray, lungs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image with a marker.

    Args:
        density: Grey of an image, float32 (h, w), [0, 1].
        lungs: Where the lungs are, bool (h, w); the marker lies outside of them.
        rng: Of the marker's turn.

    Returns:
        A new image; `density` stays as it is.
    """
    import cv2

    height, width = density.shape
    turn = float(rng.uniform(-TURN_RADIANS, TURN_RADIANS))
    covers = {place: _bar(width, height, place, turn) for place in PLACES}
    reach = max(round(0.03 * width), 1)
    around = {place: cv2.dilate(cover, np.ones((2 * reach + 1, 2 * reach + 1))) > 0 for place, cover in covers.items()}
    free = [place for place in PLACES if not lungs[around[place]].any()] or [
        min(PLACES, key=lambda place: int(lungs[covers[place] > 0].sum()))
    ]
    # The brightest parts decide: a bar that touches a letter or a white border would be no bar.
    place = min(free, key=lambda place: float(np.percentile(density[around[place]], 90)))
    return np.maximum(density, np.float32(BRIGHT) * covers[place])


def _bar(width: int, height: int, place: tuple[float, float], turn: float) -> np.ndarray:
    """How much of each pixel a bar covers: float32 (height, width), [0, 1]."""
    import cv2

    over = 4
    middle = (np.array(place) * (width, height) * over).tolist()
    size = (LONG_FRACTION * width * over, WIDE_FRACTION * width * over)
    corners = cv2.boxPoints((middle, size, float(np.degrees(turn))))
    fine = np.zeros((height * over, width * over), np.float32)
    cv2.fillConvexPoly(fine, np.rint(corners).astype(np.int32), 1.0)
    return np.asarray(cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA))
