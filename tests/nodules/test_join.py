"""What came out over the seeds: means of each measure, and none where a seed has none."""

import json
from pathlib import Path

import fake_study
import pyarrow.compute as pc
import pytest

from stages import report
from stages.lib.core import documents, tables
from stages.lib.core.errors import ParamsError, TableError
from stages.lib.metrics import measures, over_seeds
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.metrics.resampled import spread
from stages.lib.report.blocks import Section
from stages.nodules import join, measure, section

AREA, TUNED = Key("roc_auc"), Subject("classification", "tuned", "test")
DIFFERENCE = Subject("comparison", "tuned", "test", "zero_shot")


def options(studies: list[Path], seeds: list[int], out: Path) -> list[str]:
    named = {
        "measures": [study / "measures.parquet" for study in studies],
        "split": [study / "split.parquet" for study in studies],
        "seeds": seeds,
        "manifest": [studies[0] / "manifest.parquet"],
        "over-seeds": [out],
    }
    line = [text for name, paths in named.items() for text in (f"--{name}", *map(str, paths))]
    return ["--params", json.dumps(fake_study.PARAMETERS), *line]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A study, and another of the same images in another split, whose numbers are a bit lower."""
    first, second = fake_study.write(tmp_path_factory.mktemp("study")), tmp_path_factory.mktemp("other")
    measure.main(fake_study.measure_options(first, fake_study.LOCALIZED))
    found = tables.read(first / "measures.parquet", tables.MEASURES)
    place = found.column_names.index("value")
    lower = found.set_column(place, "value", pc.multiply(found["value"], 0.9))
    tables.write(second / "measures.parquet", lower, tables.MEASURES)
    split = tables.read(first / "split.parquet", tables.SPLIT)
    turned = {"train": "test", "test": "train", "val": "val"}
    names = [turned[name] for name in split["split"].to_pylist()]
    tables.write(second / "split.parquet", split.set_column(3, "split", [names]), tables.SPLIT)
    return [first, second]


@pytest.fixture(scope="module")
def joined(studies: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("joined") / "over_seeds.parquet"
    join.main(options(studies, [0, 4], out))
    return out


def of(study: Path) -> dict[Subject, dict[Key, Estimate]]:
    return measures.from_table(tables.read(study / "measures.parquet", tables.MEASURES))["nodules"]


def test_the_mean_and_the_paired_difference_over_seeds_have_the_corrected_interval(
    studies: list[Path], joined: Path
) -> None:
    found = measures.by_seed(tables.read(joined, tables.MEASURES), "nodules")
    assert set(found) == {0, 4, None}
    assert [found[0], found[4]] == [of(study) for study in studies]
    splits = [tables.read(study / "split.parquet", tables.SPLIT)["split"] for study in studies]
    tested, trained = (sum(pc.sum(pc.equal(one, name)).as_py() for one in splits) for name in ("test", "train"))
    for subject in (TUNED, DIFFERENCE):
        values = [of(study)[subject][AREA].value for study in studies]
        mean, wanted = found[None][subject][AREA], spread(values, tested / trained, 0.95)
        assert (mean.value, mean.sd, mean.low, mean.high) == pytest.approx(tuple(vars(wanted).values()))
        assert mean.n_seeds == 2
    first, second = (found[None][Subject("classification", name, "test")][AREA] for name in ("tuned", "zero_shot"))
    assert found[None][DIFFERENCE][AREA].value == pytest.approx(first.value - second.value)


def test_what_the_seeds_share_has_a_spread_and_no_interval(studies: list[Path], joined: Path) -> None:
    means = measures.by_seed(tables.read(joined, tables.MEASURES), "nodules")[None]
    alike = means[TUNED._replace(subset="val")][AREA]  # the same validation images in both
    assert alike.sd is not None
    assert (alike.low, alike.high) == (None, None)
    assert not any(key.metric in over_seeds.NOT_AVERAGED for found in means.values() for key in found)


def test_a_measure_that_one_seed_lacks_has_no_mean_and_the_reason_names_the_seed() -> None:
    of_seeds = {0: {TUNED: {AREA: Estimate(value=0.7)}}, 3: {TUNED: {AREA: Estimate(value=None, reason="one class")}}}
    found = join.join(of_seeds, {"test": 0.2}, 0.95)[TUNED][AREA]
    assert (found.value, found.reason) == (None, "with seed 3: one class")
    found = join.join({0: {TUNED: {AREA: Estimate(value=0.7)}}, 3: {}}, {"test": 0.2}, 0.95)[TUNED][AREA]
    assert (found.value, found.reason) == (None, "with seed 3: not measured")


def test_the_page_and_metrics_json_show_the_seeds(studies: list[Path], joined: Path) -> None:
    study = studies[0]
    section.main(fake_study.section_options(study, fake_study.LOCALIZED))
    assert "seeds" not in [part.name for part in documents.read(study / "section.json", Section).parts]
    section.main([*fake_study.section_options(study, fake_study.LOCALIZED), "--over-seeds", str(joined)])
    (part,) = [one for one in documents.read(study / "section.json", Section).parts if one.name == "seeds"]
    assert "2 seeds (0, 4)" in part.blocks[0].text[0]
    (limits,) = [one for one in documents.read(study / "section.json", Section).parts if one.name == "limitations"]
    (repeats,) = [row for row in limits.blocks[1].groups[0].rows if row.title == "Repeats"]
    assert repeats.cells[0].startswith("2 repeats of split and training, seeds 0, 4;")
    table = part.blocks[1]
    assert [column.title for column in table.columns] == ["Zero-shot", "Tuned", "Tuned - Zero-shot"]
    mean = measures.by_seed(tables.read(joined, tables.MEASURES), "nodules")[None][DIFFERENCE][AREA]
    (row,) = [row for row in table.groups[0].rows if row.key == "roc_auc"]
    assert row.cells[2].value == mean.value
    assert row.cells[2].beside.startswith("SD ")
    report.main([*fake_study.report_options(study), "--over-seeds", str(joined)])
    document = json.loads((study / "metrics.json").read_text())["nodules"]["over_seeds"]
    assert document["comparison"]["tuned"]["zero_shot"]["test"]["roc_auc"]["value"] == mean.value
    assert "Do other seeds say the same?" in (study / "report.html").read_text()


def test_what_is_no_list_of_seeds_is_refused(studies: list[Path], tmp_path: Path) -> None:
    with pytest.raises(TableError, match="found measures of 2 and splits of 2 seeds, wanted 1"):
        join.main(options(studies, [0], tmp_path / "out.parquet"))
    line = options(studies, [0, 4], tmp_path / "out.parquet")
    line[1] = json.dumps({"nodules": {"cohort": fake_study.PARAMETERS["nodules"]["cohort"]}})
    with pytest.raises(ParamsError, match=r"nodules\.measure\.confidence: missing"):
        join.main(line)
