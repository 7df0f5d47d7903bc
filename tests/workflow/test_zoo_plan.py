"""Plans of the chapter zoo: it costs nothing where it is not wanted, rows share features, wrong rows are refused."""

import shutil
from pathlib import Path
from typing import Any

import checkout as checkouts
import pytest
import yaml
import zoo_study

from stages.lib.core import kinds
from stages.lib.core.errors import ParamsError
from stages.lib.core.params import document as read_document
from workflow import dvc_sync, registry, zoo_names

ROOT = Path(__file__).parents[2]


def jobs(folder: Path, *targets: str) -> list[dvc_sync.Job]:
    return dvc_sync.jobs(dvc_sync.dry_run(folder, "--", *targets))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("models")
    changes = zoo_study.small() | {"study": {"shards": 2, "chapters": ["nodules", "zoo"]}}
    models = dict(changes["zoo"]["models"])
    models["alike"] = {**models["probe_largest"], "pool": ["mean"]}
    models["vit"] = {**models["dinov2"], "library": "timm", "source": "models/vit", "architecture": "test_vit"}
    xrv = {**models["vit"], "library": "torchxrayvision", "source": "densenet121-res224-pc", "architecture": "DenseNet"}
    models["xrv"] = xrv | {"side_px": 224}
    models["eva"] = {**models["vit"], "source": "owner/eva_x/tiny.pt", "revision": "main"}
    (tmp_path / "eva").mkdir()
    (tmp_path / "eva/config.json").write_text("{}")
    models["pickled"] = {**models["vit"], "source": str(tmp_path / "eva/tiny.pt"), "revision": f"sha256:{'0' * 64}"}
    published = {key: xrv[key] for key in (*zoo_names.BACKBONE_KEYS, "seen", "licence", "commercial")}
    models["xrv_itself"] = published | {"kind": "published", "target": "Nodule", "side_px": 224}
    models["chexagent"] = yaml.safe_load((ROOT / "workflow/presets/nodulocc.yaml").read_text())["zoo"]["models"][
        "chexagent"
    ]
    models["chexagent"] |= {"side_px": 224, "revision": "none", "code_revision": "none", "model": "models/chexagent"}
    changes["zoo"] = {"models": models}
    return checkouts.copy(tmp_path_factory.mktemp("zoo") / "checkout", changes)


@pytest.fixture
def shipped() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    return found


def test_outside_of_the_study_s_chapters_it_changes_neither_the_plan_nor_dvc_yaml(tmp_path: Path) -> None:
    assert yaml.safe_load((ROOT / "params.yaml").read_text())["study"]["chapters"] == ["nodules"]
    without = dvc_sync.jobs(dvc_sync.dry_run(checkouts.copy(tmp_path / "without", {"zoo": None})))
    found = dvc_sync.jobs(dvc_sync.dry_run(ROOT))
    assert len(found) > 10
    assert sorted(map(repr, without)) == sorted(map(repr, found))


def test_rows_that_show_the_same_images_to_the_same_model_share_its_features(folder: Path) -> None:
    found = jobs(folder, "zoo")
    rules = [job.rule for job in found]
    rows = yaml.safe_load((folder / "params.yaml").read_text())["zoo"]["models"]
    read = {
        reads: [
            zoo_names.features(row) for row in rows.values() if reads == kinds.module(kinds.MODELS, row["kind"]).READS
        ]
        for reads in ("features", "tokens")
    }
    assert len(set(read["features"])) < len(read["features"])  # two rows of one backbone
    assert rules.count("zoo_embed") == len(set(read["features"]))
    assert rules.count("zoo_tokens") == len(set(read["tokens"])) == 1
    assert rules.count("zoo_fit") == len(rows)
    assert rules.count("zoo_infer_shard") == 2 * len(rows)
    assert rules.count("zoo_normalize_shard") == 4  # two other sides, two shards
    assert (rules.count("zoo_convert"), rules.count("zoo_environment")) == (3, 1)
    for one in ("zoo_calibrate", "zoo_select", "zoo_measure", "zoo_section", "zoo_report", "zoo_check"):
        assert rules.count(one) == 1
    assert not {"zoo_curve_row", "zoo_localize", "zoo_localizer_cv_measure"} & set(rules)


def test_each_row_and_each_backbone_is_a_stage_of_dvc_whose_parameters_exist(folder: Path) -> None:
    document = yaml.safe_load((folder / "params.yaml").read_text())
    stages = yaml.safe_load(dvc_sync.render(folder))["stages"]
    rows = document["zoo"]["models"]
    assert {f"zoo_fit-{name}" for name in rows} <= set(stages)
    assert "results/zoo/section.json" in stages["report"]["deps"]
    assert "results/zoo/report.html" in stages["zoo_check"]["deps"]  # a failed row ends the run, behind its page
    assert stages["zoo_fit-probe_largest"]["params"] == [
        "nodules.cohort",
        "nodules.model",
        "zoo.bank",
        "zoo.embed",
        "zoo.models.probe_largest",
    ]
    for name, stage in stages.items():
        for key in stage.get("params", ()):
            inside = document
            for part in key.split("."):
                assert part in inside, f"{name}: {key}"
                inside = inside[part]
    environment = "results/weights/zoo/vision_environment.json"
    users = {name.partition("-")[0] for name, stage in stages.items() if environment in stage["deps"]}
    own = {"results/weights/zoo/chexagent_parts.json", "results/weights/zoo/chexagent_environment.json"}
    assert own <= set(stages["zoo_fit-chexagent"]["deps"]) and not own & set(stages["zoo_fit-xrv_itself"]["deps"])
    assert "${zoo.models.chexagent.model}" in stages["zoo_chexagent-chexagent"]["deps"]
    assert users == {"zoo_convert", "zoo_embed", "zoo_fit", "zoo_infer", "zoo_check"}
    assert environment not in stages["zoo_fit-vit"]["deps"]  # a head reads features alone
    assert "${zoo.models.vit.source}" in stages[f"zoo_weights-{zoo_names.weights(rows['vit'])}"]["deps"]
    released = stages[f"zoo_convert-{zoo_names.weights(rows['xrv'])}"]
    assert not [path for path in released["deps"] if ".source}" in path]  # it is no path
    here, on_hub = (stages[f"zoo_convert-{zoo_names.weights(rows[name])}"] for name in ("pickled", "eva"))
    config = str(Path(rows["pickled"]["source"]).parent / "config.json")
    assert {"${zoo.models.pickled.source}", config} <= set(here["deps"])
    assert not [path for path in on_hub["deps"] if "config.json" in path or ".source}" in path]
    assert on_hub["params"] == sorted(f"zoo.models.eva.{key}" for key in zoo_names.CONVERTED_KEYS)
    made = [path for stage in stages.values() for path in (*stage["outs"], *stage.get("metrics", ()))]
    assert len(made) == len(set(made))


def test_a_trained_localizer_is_checked_where_the_study_takes_its_points(folder: Path, tmp_path: Path) -> None:
    before = jobs(folder, "zoo")
    assert not [job for job in before if job.rule == "zoo_localize"]
    other = tmp_path / "checkout"
    shutil.copytree(folder, other, symlinks=True)
    document = yaml.safe_load((other / "params.yaml").read_text())
    points = "results/zoo/localize/heatmap.parquet"
    document["nodules"]["localizers"]["trained"] = {"kind": "table", "label": "Trained", "path": points}
    (other / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    found = jobs(other, "zoo")
    [made] = [job for job in found if job.rule == "zoo_localize"]
    [check] = [job for job in found if job.rule == "zoo_check"]
    assert points in made.writes and "results/zoo/localize/heatmap.json" in check.reads


def test_a_localizer_that_is_called_like_a_model_takes_nothing_from_it(shipped: dict[str, Any]) -> None:
    shipped["zoo"]["localizers"]["dinov3"] = {**shipped["zoo"]["localizers"]["heatmap"], "side_px": 224}
    assert zoo_names.sides(shipped) == [128, 224]
    assert len([1 for _, name, _ in zoo_names.rows(shipped) if name == "dinov3"]) == 2


def test_a_renamed_row_keeps_the_names_of_its_features_and_files(shipped: dict[str, Any]) -> None:
    row = shipped["zoo"]["models"]["dinov2"]
    assert zoo_names.features(row) == zoo_names.features({**row, "label": "another", "pool": ["prefix"]})
    for key, value in (("side_px", 224), ("shifts", 2), ("source", "other"), ("revision", "abc"), ("library", "timm")):
        assert zoo_names.features(row) != zoo_names.features({**row, key: value})


def test_a_pickled_file_of_the_hub_is_called_after_its_repository_and_one_file_is_one_model(
    shipped: dict[str, Any],
) -> None:
    row = {**shipped["zoo"]["models"]["dinov2"], "library": "timm", "source": "owner/EVA_X/tiny.pt", "revision": "main"}
    assert zoo_names.weights(row).startswith("eva_x-") and zoo_names.fetched_by(row) == "zoo_convert"
    assert zoo_names.features(row).startswith("eva_x-112px-1-")
    for key, value in (("source", "owner/EVA_X/small.pt"), ("architecture", "other"), ("library", "open_clip")):
        assert zoo_names.weights(row) != zoo_names.weights({**row, key: value})
    assert zoo_names.weights(row) == zoo_names.weights({**row, "side_px": 224})


def test_the_files_of_a_folder_with_an_odd_name_have_a_plain_one(shipped: dict[str, Any]) -> None:
    """A space would break the log of a rule, and the command that zoo_check prints; a brace would be a wildcard."""
    row = {**shipped["zoo"]["models"]["dinov2"], "source": "/data/RAD dino {2}"}
    assert zoo_names.weights(row).startswith("rad-dino-2-")
    assert zoo_names.features(row).startswith("rad-dino-2-112px-1-")
    assert zoo_names.weights(row) != zoo_names.weights({**row, "source": "/data/rad-dino-2"})


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("zoo.models.neighbours.kind", "knnn", "zoo.models.neighbours.kind knnn"),
        ("zoo.models.neighbours.kind", ["knn"], "zoo.models.neighbours.kind ['knn']: unknown"),
        ("zoo.models.neighbours.kind", {"knn": 5}, "zoo.models.neighbours.kind {'knn': 5}: unknown"),
        ("zoo.models.dinov2.library", "transfomers", "zoo.models.dinov2.library"),
        ("zoo.models.dinov2.pool", ["largst"], "did you mean 'largest'"),
        ("zoo.models.dinov2.seen", "maybe", "zoo.models.dinov2.seen"),
        ("zoo.models.together.members", ["together", "qlora"], "names itself"),
        ("zoo.models.together.members", ["qlora", "qlorra"], "did you mean 'qlora'"),
        ("zoo.models.qlora.classifier", "tunned", "zoo.models.qlora.classifier"),
        ("zoo.measure.reference", "nobody", "zoo.measure.reference: found 'nobody'"),
        ("zoo.curve.rows", ["qlora"], "zoo.curve.rows.0: found 'qlora'"),
        ("zoo.curve.rows", ["dinov2", "dinov2"], "zoo.curve.rows: found dinov2, dinov2, wanted each once"),
        ("zoo.models.summary", "of", "zoo.models.summary: wanted another name, zoo_curve writes a file of this one"),
        ("zoo.localizer_cv.rivals", ["combined", "combined"], "zoo.localizer_cv.rivals: found combined, combined"),
        ("zoo.localizer_cv.rivals", ["attribution", "combined"], "zoo.localizer_cv.rivals.1: found 'combined', wanted"),
        ("zoo.localizer_cv.rivals", ["atribution"], "zoo.localizer_cv.rivals.0: found 'atribution', wanted one of "),
        ("zoo.localizer_cv.supervision", ["both", "both"], "zoo.localizer_cv.supervision: found both, both"),
        (
            "zoo.models.dinov2.source",
            "results/weights/pretrain/tiny_dino2",
            "zoo.models.dinov2.source: found 'results/weights/pretrain/tiny_dino2', wanted results/weights/pretrain/ "
            "and a row of weights.pretrain; tiny_dino2: unknown; did you mean 'tiny_dinov2'?",
        ),
        ("predict.model", "nobody", "predict.model: found 'nobody'"),
        ("zoo.models.qwen.source", "base", "wanted source 'base'"),
        ("zoo.models.probe_mean.source", "a/b", "library medgemma with source 'a/b'"),
    ],
)
def test_a_wrong_row_is_refused_with_its_name(shipped: dict[str, Any], path: str, value: Any, said: str) -> None:
    inside, *names = shipped, *path.split(".")
    for name in names[:-1]:
        inside = inside[name]
    inside[names[-1]] = dict(shipped["zoo"]["models"]["dinov2"]) if value == "of" else value
    with pytest.raises(ParamsError) as told:
        registry.check(shipped)
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("row", "changes", "said"),
    [
        ("rad_dino", {"source": "microsoft/rad-dino/"}, ".source: found 'microsoft/rad-dino/' with revision 'main'"),
        ("rad_dino", {"source": "https://huggingface.co/microsoft/rad-dino"}, "wanted organisation/name"),
        ("rad_dino", {"source": "microsoft/rad-dino/pytorch_model.bin"}, "wanted organisation/name"),
        ("chexone", {"source": "models/our/chexone"}, "for a folder write revision: none"),
        ("chexagent", {"encoder": "XraySigLIP"}, ".encoder: found 'XraySigLIP' with encoder_revision"),
        ("xrv_all", {"revision": "main"}, ".revision: found 'main', wanted none, or sha256:"),
        ("xrv_all", {"revision": "sha256:12ab"}, ".revision: found 'sha256:12ab', wanted none, or sha256:"),
        ("biomedclip", {"source": "weights.bin"}, "wanted organisation/name/file as on the hub"),
    ],
)
def test_a_source_by_which_nothing_can_be_found_is_refused_with_the_row_before_any_job(
    row: str, changes: dict[str, str], said: str
) -> None:
    """Its own job would end the run of all rows, and shares its parameters with other rows, so that it names none."""
    preset: dict[str, Any] = yaml.safe_load((ROOT / "workflow/presets/nodulocc.yaml").read_text())
    preset["zoo"]["models"] = {row: preset["zoo"]["models"][row] | changes}
    with pytest.raises(ParamsError) as told:
        registry.check(preset)
    assert f"zoo.models.{row}." in str(told.value) and said in str(told.value)


def test_all_wrong_rows_are_told_at_once(shipped: dict[str, Any]) -> None:
    models = shipped["zoo"]["models"]
    models["dinov2"]["pool"] = ["largst"]
    models["siglip"]["shifts"] = 0
    models["resnet"]["loss"] = "hinge"
    with pytest.raises(ParamsError) as told:
        registry.check(shipped)
    for name in ("dinov2", "siglip", "resnet"):
        assert f"zoo.models.{name}" in str(told.value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seen", "labels", "zoo.models.qwen.seen: found 'labels', but zoo.models.again says 'no' of the same weights"),
        ("licence", "MIT", "zoo.models.qwen.licence: found 'MIT', but zoo.models.again says 'Apache-2.0'"),
        ("commercial", False, "zoo.models.qwen.commercial: found False, but zoo.models.again says True"),
    ],
)
def test_two_rows_of_the_same_weights_say_the_same_of_them(
    shipped: dict[str, Any], key: str, value: Any, said: str
) -> None:
    """A row of weights that have seen the images could be chosen under another name."""
    models = shipped["zoo"]["models"]
    shipped["zoo"]["models"] = {"again": {**models["qwen"], "shifts": 2}, **models}
    registry.check(shipped)
    models = shipped["zoo"]["models"]
    models["resnet"] |= {"source": models["dinov3"]["source"], "seen": "unknown"}  # from random weights
    registry.check(shipped)
    models["qwen"][key] = value
    with pytest.raises(ParamsError) as told:
        registry.check(shipped)
    assert said in str(told.value)


def test_two_rows_of_chexagent_say_the_same_of_it_and_a_slash_makes_no_other_folder() -> None:
    preset: dict[str, Any] = yaml.safe_load((ROOT / "workflow/presets/nodulocc.yaml").read_text())
    models = preset["zoo"]["models"]
    models["again"] = {**models["chexagent_first"], "shifts": 2, "seen": "no"}
    here = {**models["efficientnetv2"], "source": "models/effnet", "revision": "none"}
    models |= {"here": here, "slashed": {**here, "source": "models/effnet/", "commercial": False}}
    with pytest.raises(ParamsError) as told:
        registry.check(preset)
    assert "zoo.models.again.seen: found 'no', but zoo.models.chexagent_first says 'labels'" in str(told.value)
    assert "zoo.models.slashed.commercial: found False, but zoo.models.here says True" in str(told.value)


def test_a_row_without_a_licence_for_commercial_use_is_refused_where_the_study_is_commercial(
    shipped: dict[str, Any],
) -> None:
    shipped["zoo"]["models"]["siglip"] |= {"commercial": False, "licence": "cc-by-nc-4.0"}
    registry.check(shipped)
    shipped["study"]["commercial"] = True
    with pytest.raises(ParamsError, match=r"zoo.models.siglip: found a licence .*cc-by-nc-4.0"):
        registry.check(shipped)


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (("zoo", "bank", "questions", 1), "Is there a nodule in the left lung?"),
        (("zoo", "bank", "answers", 1), "Right/Neither"),
        (("zoo", "bank", "text_pairs", 0), ["a nodule in the RIGHT lung", "no nodule"]),
        (("nodules", "prompt", "answers"), "Left/None"),
    ],
)
def test_images_are_not_mirrored_where_a_text_speaks_of_a_side(
    shipped: dict[str, Any], where: tuple[Any, ...], text: Any
) -> None:
    shipped["zoo"]["models"]["resnet"]["mirror"] = True
    registry.check(shipped)
    inside: Any = shipped
    for key in where[:-1]:
        inside = inside[key]
    inside[where[-1]] = text
    told = text if isinstance(text, str) else text[0]
    with pytest.raises(ParamsError) as error:
        registry.check(shipped)
    assert f"zoo.models.resnet.mirror: found true, wanted false: '{told}" in str(error.value)


def test_a_bare_no_of_yaml_is_the_word(shipped: dict[str, Any]) -> None:
    shipped["zoo"]["models"]["dinov2"]["seen"] = False
    registry.check(shipped)
    zoo_names.plain(shipped)
    assert shipped["zoo"]["models"]["dinov2"]["seen"] == "no"


def test_two_rows_of_one_name_are_refused_before_yaml_drops_one(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text().replace("    neighbours:\n", "    probe_mean:\n", 1)
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=r"zoo.models.probe_mean: found twice, in lines \d+ and \d+"):
        read_document(str(tmp_path / "params.yaml"))


def test_the_zoo_wants_the_study_beside_it(shipped: dict[str, Any]) -> None:
    for root in ("data", "weights", "nodules", "predict", "findings", "lofi"):
        shipped.pop(root)
    shipped["study"]["chapters"] = ["zoo"]
    with pytest.raises(ParamsError, match="zoo: found no section nodules"):
        registry.check(shipped)


def test_snakemake_itself_refuses_a_name_that_stands_twice(folder: Path) -> None:
    path = folder / "params.yaml"
    kept = path.read_text()
    try:
        path.write_text(kept.replace("    dinov2:\n", "    probe_largest:\n", 1))
        assert "zoo.models.probe_largest: found twice" in checkouts.run(folder, "snakemake", "-n", fails=True)
    finally:
        path.write_text(kept)


def test_other_images_by_an_ensemble_bring_its_members_and_train_nothing(folder: Path) -> None:
    path = folder / "params.yaml"
    kept = path.read_text()
    try:
        document = yaml.safe_load(kept)
        document["predict"]["model"] = "both"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        found = jobs(folder, "results/predict/infer.parquet")
    finally:
        path.write_text(kept)
    rules = {job.rule for job in found}
    assert {"predict_zoo_infer", "predict_zoo_embed_shard", "predict_calibrate"} <= rules
    assert not {"zoo_fit", "nodules_train", "predict_infer_shard"} & rules
    [calibrate] = [job for job in found if job.rule == "predict_calibrate"]
    assert "results/zoo/infer/both_calibration.json" in calibrate.command
    shards = [job for job in found if job.rule == "predict_zoo_infer_shard"]
    assert len(shards) == 2 * 3  # two members and the ensemble, two shards
