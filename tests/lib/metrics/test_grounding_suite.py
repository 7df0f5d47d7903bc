"""Claims about the grounding suite: intervals over patients, blind rows, verdicts, strata, readers; and its tables."""

from dataclasses import replace

import numpy as np
import pytest

from stages.lib.core import sentence_tables, tables
from stages.lib.core.errors import DataError, MetricInputError
from stages.lib.metrics import grounding, grounding_tables
from stages.lib.metrics import grounding_suite as suite
from stages.lib.metrics.grounding import Answer, Sentence
from stages.lib.metrics.grounding_tables import Grounded
from stages.lib.metrics.measures import Key, Subject
from stages.lib.metrics.parts import value

SETTINGS = suite.Settings(
    draws=400,
    seed=1,
    confidence=0.95,
    iou=0.5,
    judged_by="rodeo_localization",
    size_edges=(0.01, 0.05),
    min_stratum_sentences=3,
)
LOCALIZATION = Key("rodeo_localization")
N = 60


def array(given):
    return np.array(given, float).reshape(-1, 4)


def moved(truths, by):
    return Answer("ok", truths + np.array([by, 0, by, 0]), np.zeros(0))


def made(seed=0):
    """Sixty sentences of thirty patients, and three grounders: one that looks, one that does not, one of chance."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 80, (N, 2))
    truths = [array([*corner, *(corner + 10 + 15 * (k % 3))]) for k, corner in enumerate(corners)]
    sentences = tuple(
        Sentence(
            f"i{k:02d}", k % 4, f"p{k // 2:02d}", truths[k], 200.0, 100.0, ("mass",) if k % 3 else ("line", "mass")
        )
        for k in range(N)
    )
    near = [moved(one, by) for one, by in zip(truths, rng.normal(0, 4, N), strict=True)]
    far = [moved(one, by) for one, by in zip(truths, rng.normal(0, 40, N), strict=True)]
    same = [moved(one, by) for one, by in zip(truths, rng.normal(0, 40, N), strict=True)]
    return {
        "looks": Grounded(sentences, {"own": tuple(near), "shuffled": tuple(far), "grey": tuple(same)}),
        "blind": Grounded(sentences, {"own": tuple(far), "shuffled": tuple(same), "grey": tuple(far)}),
    }


@pytest.fixture(scope="module")
def results():
    return suite.measure_all(made(), SETTINGS, compared=[("looks", "blind")])


def test_a_grounder_that_beats_its_blind_rows_looks_and_one_that_does_not_has_grounded_nothing(results):
    told = {(one.grounder, one.blind): one for one in results.verdicts}
    assert {name: one.grounds for name, one in told.items()} == {
        ("looks", "shuffled"): True,
        ("looks", "grey"): True,
        ("blind", "shuffled"): False,
        ("blind", "grey"): False,
    }
    assert results.grounds == {"looks": True, "blind": False}
    assert told["looks", "shuffled"].sentence.startswith("looks beats itself blind: RoDeO localization ")
    assert told["blind", "shuffled"].sentence.startswith("blind has grounded nothing: RoDeO localization ")
    assert told["looks", "grey"].sentence.endswith("above its own with a grey image (n = 60)")


def test_who_beats_a_grey_image_alone_has_grounded_nothing():
    found = made()["looks"]
    same = replace(found, answers=found.answers | {"shuffled": found.answers["own"]})
    results = suite.measure_all({"same": same}, SETTINGS)
    assert [one.grounds for one in results.verdicts] == [False, True]
    assert results.grounds == {"same": False}


def test_what_answers_every_image_alike_differs_from_its_blind_row_by_exactly_nothing(results):
    gap = results.measures[Subject("grounding", "blind", "test", "blind/grey")][LOCALIZATION]
    assert (gap.value, gap.low, gap.high, gap.n, gap.n_patients) == (0.0, 0.0, 0.0, N, 30)


def test_the_paired_difference_is_that_of_the_two_rows_and_its_interval_is_narrower_than_theirs(results):
    own = results.measures[Subject("grounding", "looks", "test")][LOCALIZATION]
    other = results.measures[Subject("grounding", "blind", "test")][LOCALIZATION]
    gap = results.measures[Subject("grounding", "looks", "test", "blind")][LOCALIZATION]
    assert gap.value == pytest.approx(own.value - other.value)
    assert gap.low < gap.value < gap.high


def test_intervals_are_those_of_drawing_patients_by_hand(results):
    found = made()["looks"]
    scored = grounding.score(found.sentences, found.answers["own"], 0.5)
    patients = sorted({one.patient_id for one in found.sentences})
    of_patient = {name: [k for k, one in enumerate(found.sentences) if one.patient_id == name] for name in patients}
    rng = np.random.default_rng(SETTINGS.seed)
    numbers = []
    for drawn in rng.integers(len(patients), size=(100, len(patients))):
        kept = [k for place in drawn for k in of_patient[patients[place]]]
        part = grounding.Scored(**{name: column[kept] for name, column in vars(scored).items()})
        numbers.append(value(grounding.parts(part, 0.5)[LOCALIZATION]))
    weights = suite.drawn(found.sentences, SETTINGS)
    first = suite.measured_on(found.sentences, scored, weights, SETTINGS).draws[LOCALIZATION][:100]
    assert first == pytest.approx(numbers)


def test_strata_are_by_finding_number_of_boxes_and_size_and_say_their_n(results):
    subsets = {subject.subset: found for subject, found in results.measures.items() if subject.system == "looks"}
    assert {"test/label/mass", "test/label/line", "test/boxes/1", "test/size/0_to_0.01", "test/size/0.05_to_1"} <= {
        *subsets
    }
    assert subsets["test/label/mass"][LOCALIZATION].n == N
    assert subsets["test/label/line"][LOCALIZATION].n == N // 3
    sizes = [found[LOCALIZATION].n for subset, found in subsets.items() if subset.startswith("test/size/")]
    assert sum(sizes) == N


def test_a_stratum_of_too_few_sentences_has_a_reason_instead_of_a_number():
    found = made()["looks"]
    few = found.only(sorted(found.names)[:2])
    subsets = suite.measure_all({"looks": few}, SETTINGS).measures
    one = subsets[Subject("grounding", "looks", "test/boxes/1")][LOCALIZATION]
    assert (one.value, one.n) == (None, 2)
    assert "too few sentences: 2, wanted at least 3" in one.reason


def test_the_order_of_sentences_and_of_patients_names_decides_nothing_but_the_draws(results):
    found = made()
    order = np.random.default_rng(9).permutation(N)
    turned = {
        name: Grounded(
            tuple(one.sentences[k] for k in order),
            {seen: tuple(answers[k] for k in order) for seen, answers in one.answers.items()},
        )
        for name, one in found.items()
    }
    again = suite.measure_all(turned, SETTINGS, compared=[("looks", "blind")]).measures
    assert again.keys() == results.measures.keys()
    for subject, measured in again.items():
        for key, one in measured.items():
            other = results.measures[subject][key]
            assert (one.value, one.low) == (pytest.approx(other.value), pytest.approx(other.low)), (subject, key)


def test_the_second_reader_is_a_row_and_grounders_stand_beside_it_on_the_same_sentences():
    found = made()
    sentences = found["looks"].sentences[:20]
    human = [Answer("ok", one.truths + 1, np.zeros(0)) for one in sentences]
    made_ = suite.measure_all(found, SETTINGS, reader=(sentences, human)).measures
    reader = made_[Subject("grounding", "second_reader", "test/two_readers")]
    assert reader[LOCALIZATION].n == made_[Subject("grounding", "looks", "test/two_readers")][LOCALIZATION].n == 20
    gap = made_[Subject("grounding", "blind", "test/two_readers", "second_reader")][LOCALIZATION]
    assert gap.high < 0


def test_a_grounder_that_was_not_asked_with_the_own_images_is_refused():
    found = made()["looks"]
    with pytest.raises(MetricInputError, match=r"looks: found \['grey'\], wanted the own images"):
        suite.measure_all({"looks": replace(found, answers={"grey": found.answers["grey"]})}, SETTINGS)


def test_an_undefined_difference_is_nothing_grounded_and_the_verdict_says_why():
    found = made()["looks"]
    silent = tuple(Answer("empty", array([]), np.zeros(0)) for _ in found.sentences)
    both = replace(found, answers={"own": silent, "grey": silent})
    results = suite.measure_all({"mute": both}, SETTINGS)
    assert [one.grounds for one in results.verdicts] == [False]
    assert (
        results.measures[Subject("grounding", "mute", "test")][Key("precision", "iou_50")].reason
        == "no box was predicted"
    )


PAIR = {"study_id": None, "split": "test", "text": "A mass.", "abnormal": True, "part": 0, "second": []}


def pair_rows():
    return [
        PAIR | {"image_id": "a", "number": 0, "patient_id": "p", "labels": ["mass"], "boxes": [[0.0, 0.0, 9.0, 9.0]]},
        PAIR | {"image_id": "a", "number": 1, "patient_id": "p", "labels": [], "boxes": []},
        PAIR
        | {"image_id": "b", "number": 0, "patient_id": "q", "labels": [], "boxes": [[1.0, 1.0, 2.0, 2.0]]}
        | {"second": [[1.0, 1.0, 3.0, 3.0]]},
        PAIR
        | {
            "image_id": "c",
            "number": 0,
            "patient_id": "r",
            "split": "train",
            "labels": [],
            "boxes": [[0.0, 0.0, 1.0, 1.0]],
        },
    ]


@pytest.fixture
def manifest():
    rows = [{"image_id": name, "width_px": 40, "height_px": 20} for name in "abc"]
    import pyarrow as pa

    return pa.Table.from_pylist(rows)


@pytest.fixture
def pairs():
    return tables.from_rows(pair_rows(), sentence_tables.PAIRS)


def answers(*rows):
    base = {"grounder": "copy", "response": None, "problem": None, "confidences": [], "shown": [], "number": 0}
    return tables.from_rows([base | row for row in rows], sentence_tables.GROUNDED)


OWN_A = {"seen": "own", "image_id": "a", "status": "ok", "boxes": [[0.0, 0.0, 9.0, 9.0]]}
OWN_B = {"seen": "own", "image_id": "b", "status": "empty", "boxes": []}


def test_sentences_with_boxes_of_the_split_are_asked_and_no_other(pairs, manifest):
    known = grounding_tables.sentences(pairs, manifest)
    assert list(known) == [("a", 0), ("b", 0)]
    assert known["a", 0].labels == ("mass",)
    found = grounding_tables.grounded(answers(OWN_A, OWN_B), known)
    assert [one.status for one in found.answers["own"]] == ["ok", "empty"]
    sentences, drawn = grounding_tables.second_reader(pairs, known)
    assert [one.image_id for one in sentences] == ["b"]
    assert drawn[0].predictions.tolist() == [[1.0, 1.0, 3.0, 3.0]]


def test_a_sentence_for_which_the_second_reader_drew_nothing_on_an_image_that_they_read_is_a_miss(manifest):
    both = [{**pair_rows()[-1], "image_id": "b", "number": number, "split": "test"} for number in (0, 1)]
    both[0] |= {"boxes": [[1.0, 1.0, 4.0, 4.0]], "second": [[1.0, 1.0, 3.0, 3.0]]}
    both[1] |= {"boxes": [[5.0, 5.0, 9.0, 9.0]], "second": []}
    pairs = tables.from_rows(both, sentence_tables.PAIRS)
    sentences, drawn = grounding_tables.second_reader(pairs, grounding_tables.sentences(pairs, manifest))
    assert [one.number for one in sentences] == [0, 1]
    assert [one.status for one in drawn] == ["ok", "empty"]


def test_answers_that_do_not_fit_the_sentences_are_all_told_at_once(pairs, manifest):
    known = grounding_tables.sentences(pairs, manifest)
    odd = answers(OWN_A, OWN_B, OWN_A | {"seen": "grey"}, OWN_A | {"image_id": "c", "grounder": "other"})
    with pytest.raises(DataError) as told:
        grounding_tables.grounded(odd, known)
    text = str(told.value)
    assert "found the grounders ['copy', 'other'], wanted one" in text
    assert "image c, sentence 0: not among the sentences with boxes" in text
    assert "image b, sentence 0: asked, but not with seen 'grey'" in text


def test_an_image_without_a_size_is_named(pairs):
    import pyarrow as pa

    sizes = pa.Table.from_pylist([{"image_id": "a", "width_px": 40, "height_px": 20}])
    with pytest.raises(DataError, match="image b: found no size in the manifest"):
        grounding_tables.sentences(pairs, sizes)
