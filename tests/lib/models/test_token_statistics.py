"""Claims about stages.lib.models.token_statistics: against numpy, by property, and its refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core.errors import ModelError
from stages.lib.core.feature_tables import STATISTICS
from stages.lib.models import token_statistics as pooling


def tokens(seed: int, rows: int = 4, features: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(3.0, 20.0, (rows, rows, features)).astype(np.float32)


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 9))
def test_statistics_are_those_of_numpy_in_double_precision_to_half_precision(seed, rows):
    patches = tokens(seed, rows)
    cells = patches.reshape(-1, patches.shape[-1]).astype(np.float64)
    wanted = {"mean": cells.mean(0), "largest": cells.max(0), "smallest": cells.min(0), "deviation": cells.std(0)}
    found = pooling.of_tokens(patches)
    assert tuple(found) == STATISTICS
    for name, values in wanted.items():
        assert found[name].dtype == np.float16
        np.testing.assert_allclose(found[name].astype(float), values, rtol=1e-3, atol=2e-3)


@given(seed=st.integers(0, 10_000), places=st.integers(1, 4))
def test_statistics_joined_over_places_are_those_of_all_tokens_together(seed, places):
    images = [[tokens(seed + 10 * image + place) for place in range(places)] for image in range(3)]
    each = [[pooling.of_tokens(one) for one in image] for image in images]
    stacked = {name: np.array([[one[name] for one in image] for image in each]) for name in STATISTICS}
    whole = [pooling.of_tokens(np.concatenate(image)) for image in images]
    for name, values in pooling.over_places(stacked).items():
        wanted = np.array([one[name] for one in whole], float)
        np.testing.assert_allclose(values, wanted, rtol=2e-3, atol=2e-2)


def test_joining_one_place_changes_nothing():
    one = {name: values[None, None] for name, values in pooling.of_tokens(tokens(1)).items()}
    for name, values in pooling.over_places(one).items():
        np.testing.assert_array_equal(values.astype(np.float16), one[name][:, 0])


def test_a_large_mean_leaves_the_deviation_right():
    near = np.full((8, 8, 1), 3000.0, np.float32)
    near[0, 0, 0] += 8
    assert pooling.of_tokens(near)["deviation"][0] == pytest.approx(np.std([8, *[0] * 63]), rel=1e-3)


@pytest.mark.parametrize(
    ("value", "said"), [(70000.0, "feature 2 is 70000, wanted at most 65504"), (np.nan, "feature 2 is nan, wanted")]
)
def test_a_number_that_half_precision_does_not_hold_is_refused_with_its_feature(value, said):
    patches = tokens(0)
    patches[1, 1, 2] = value
    with pytest.raises(ModelError, match=said):
        pooling.of_tokens(patches)
