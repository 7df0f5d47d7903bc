"""Claims about the check that all rows stand."""

import pytest
import zoo_tables as fake

from stages.lib.core import cli, documents
from stages.lib.models.own_environment import Unbuilt
from stages.lib.models.snapshot import Missing
from stages.zoo import check
from stages.zoo.check import Checked, FailedRowsError


def arguments(folder, fits, inferred, embedded=()):
    """Records below `folder`, and the arguments that check them."""
    for one in fits:
        documents.write(folder / f"fit/{one.model}.json", one)
    for one in inferred:
        documents.write(folder / f"infer/raw/{one.model}.json", one)
    for name, one in embedded:
        documents.write(folder / f"features/{name}.json", one)
        for shard in ("1-of-2", "2-of-2"):
            documents.write(folder / f"features/{name}/{shard}.json", one)
    given = ["--embedded", *(str(folder / f"features/{name}.json") for name, _ in embedded)] if embedded else []
    return [
        *("--fits", *(str(folder / f"fit/{one.model}.json") for one in fits)),
        *("--inferred", *(str(folder / f"infer/raw/{one.model}.json") for one in inferred)),
        *given,
        *("--check", str(folder / "check.json")),
    ]


def test_rows_that_all_stand_are_listed(tmp_path, caplog):
    caplog.set_level("INFO")
    check.main(arguments(tmp_path, [fake.fit("a"), fake.fit("b")], [fake.inferred("a"), fake.inferred("b")]))
    assert documents.read(tmp_path / "check.json", Checked).rows == ("a", "b")
    assert [record.getMessage() for record in caplog.records] == ["check: all 2 rows stand"]


def test_each_failed_row_is_told_with_its_stage_its_reason_in_a_line_and_a_command(tmp_path):
    of_fit, of_infer = fake.failed("fit", "b: features\nof one value"), fake.failed("infer", "out of memory")
    fits = [fake.fit("a"), fake.fit("b", failure=of_fit), fake.fit("c")]
    inferred = [fake.inferred("a"), fake.inferred("b", failure=of_fit), fake.inferred("c", failure=of_infer)]
    with pytest.raises(FailedRowsError) as told:
        check.main(arguments(tmp_path, fits, inferred))
    assert str(told.value).splitlines() == [
        "2 rows of zoo.models failed, 1 stand:",
        "  - b: fit: b: features of one value",
        f"    snakemake --cores 2 --forcerun {tmp_path}/fit/b.json -- zoo_check",
        "  - c: infer: out of memory",
        f"    snakemake --cores 2 --forcerun {tmp_path}/infer/raw/c.json -- zoo_check",
    ]
    assert not (tmp_path / "check.json").exists()


def test_a_row_whose_features_failed_is_tried_again_from_the_shards_of_its_own_features(tmp_path):
    failed = fake.failed("embed")
    fits = [fake.fit("a", failure=failed, features="features/mine")]
    embedded = [("other", fake.embedded(failure=failed)), ("mine", fake.embedded(failure=failed))]
    with pytest.raises(FailedRowsError) as told:
        check.main(arguments(tmp_path, fits, [fake.inferred("a", failure=failed)], embedded))
    command = str(told.value).splitlines()[-1]
    assert f"{tmp_path}/features/mine/1-of-2.json {tmp_path}/features/mine/2-of-2.json --" in command
    assert "other" not in command


def test_a_row_whose_model_cannot_be_had_is_tried_again_from_the_look_for_it(tmp_path):
    failed = fake.failed("embed", "results/weights/x: found no config.json, wanted the folder of a model")
    path = tmp_path / "weights/x.json"
    documents.write(path, Missing(base="x", revision="none", missing=failed.reason))
    given = arguments(tmp_path, [fake.fit("a", failure=failed)], [fake.inferred("a", failure=failed)])
    with pytest.raises(FailedRowsError) as told:
        check.main([*given, "--weights", str(path)])
    assert str(told.value).splitlines()[-1] == f"    snakemake --cores 2 --forcerun {path} -- zoo_check"


def test_a_row_whose_environment_could_not_be_built_is_tried_again_from_the_building(tmp_path):
    """The model that was to be converted there is missing by the same reason, and is looked for again as well."""
    why = "'pip install' failed; run 'make setup-vision' where the package index can be reached"
    failed = fake.failed("embed", f"xrv: {why}")
    model, environment = tmp_path / "weights/xrv.json", tmp_path / "weights/vision_environment.json"
    documents.write(model, Missing(base="xrv", revision="none", missing=why))
    documents.write(environment, Unbuilt(missing=why))
    given = arguments(tmp_path, [fake.fit("a", failure=failed)], [fake.inferred("a", failure=failed)])
    with pytest.raises(FailedRowsError) as told:
        check.main([*given, "--weights", str(model), "--environments", str(environment)])
    command = str(told.value).splitlines()[-1]
    assert command == f"    snakemake --cores 2 --forcerun {model} {environment} -- zoo_check"


def test_an_ensemble_whose_member_failed_is_tried_again_from_the_member(tmp_path):
    """Tried again by itself it would fail again: the member stands as it was."""
    of_fit, of_infer = fake.failed("fit", "a: no loss"), fake.failed("infer", "b: out of memory")
    by_fit = fake.failed("fit", "its member a failed: a: no loss")
    of_both = fake.failed("fit", "its member by_fit failed: its member a failed: a: no loss")
    by_infer = fake.failed("fit", "scores of b: lacks 60 of 60 images (val0); that row failed; run it again")
    why = {"a": of_fit, "b": None, "by_fit": by_fit, "by_infer": by_infer, "of_both": of_both}
    fits = [fake.fit(name, failure=failed) for name, failed in why.items()]
    inferred = [fake.inferred(name, failure=of_infer if name == "b" else failed) for name, failed in why.items()]
    with pytest.raises(FailedRowsError) as told:
        check.main(arguments(tmp_path, fits, inferred))
    lines = [line.strip(" -") for line in str(told.value).splitlines()[1:]]
    commands = {one.split(":")[0]: two.split()[4] for one, two in zip(lines[::2], lines[1::2], strict=True)}
    a, b = f"{tmp_path}/fit/a.json", f"{tmp_path}/infer/raw/b.json"
    assert commands == {"a": a, "b": b, "by_fit": a, "by_infer": b, "of_both": a}


def test_the_command_line_ends_with_1(tmp_path, capsys):
    given = arguments(tmp_path, [fake.fit("a", failure=fake.failed("fit"))], [fake.inferred("a")])
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: check.main(given))
    assert ended.value.code == 1
    assert "1 row of zoo.models failed, 0 stand" in capsys.readouterr().err
