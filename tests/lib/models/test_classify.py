"""The mean over sub-token shifts, for whatever kind of classifier."""

import cv2
import numpy as np
import pytest

from stages.lib.core.errors import ModelError
from stages.lib.images import normalized
from stages.lib.models.classify import Classifier, averaged


@pytest.fixture
def corner(tmp_path):
    """An image with one bright pixel in its last row, in the second column."""
    image = np.zeros((8, 8), np.uint8)
    image[7, 1] = 80
    cv2.imwrite(str(tmp_path / "corner.png"), image)
    return tmp_path / "corner.png"


@pytest.fixture
def asked():
    """Batches that the classifier was asked about."""
    return []


@pytest.fixture
def classifier(asked):
    def logits(images):
        asked.append(images)
        found = [(-float(image.sum()), float(np.argmax(image) % 8), 0.5 + 0.1 * (image.sum() > 0)) for image in images]
        return np.array(found)

    return Classifier(logits=logits, load=normalized.load, token_px=4)


def test_logits_and_the_mass_of_the_answers_are_means_over_the_places(classifier, corner, asked):
    read, logits = averaged(classifier, 2)
    found = logits([read(corner), read(corner)])
    # moved down by 2 the bright pixel is lost; moved right by 2 alone it is in column 3
    wanted = np.mean([(-80, 1, 0.6), (-80, 3, 0.6), (0, 0, 0.5), (0, 0, 0.5)], axis=0)
    np.testing.assert_allclose(found, [wanted, wanted])
    assert [len(batch) for batch in asked] == [2] * 4  # a pass is about a batch, not four times as large


def test_one_place_changes_no_bit(classifier, corner):
    read, logits = averaged(classifier, 1)
    assert logits([read(corner)]).tobytes() == classifier.logits([normalized.load(corner)]).tobytes()


def test_shifts_have_to_divide_what_the_classifier_sees_as_one(classifier):
    with pytest.raises(ModelError, match=r"nodules.infer.shifts: found 3, wanted a divisor of 4"):
        averaged(classifier, 3)
