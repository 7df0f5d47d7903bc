"""Several seeds and other data: what depends on them is done again elsewhere, and nothing else."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.lib.core.errors import ParamsError
from workflow import dvc_sync, registry

ROOT = Path(__file__).parents[2]
OTHERS = ("1", "2")
ELSEWHERE = "/data/hospital_b"
REPEATED = {"data_split", "nodules_train", "nodules_infer", "nodules_localize", "nodules_measure"}
SHOWS_SEEDS = {"nodules_section", "report"}  # stages that show what came out over the seeds
SHARED = (
    r"results/(data/(simulate|external/|manifest|points|normalized)|weights/|nodules/(checkpoints|features|journals)\b)"
)


def shipped() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    return document


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[dvc_sync.Job]:
    """Jobs of the study as shipped, with three seeds and a folder of other data."""
    folder = tmp_path_factory.mktemp("study")
    document = shipped()
    document["study"] |= yaml.safe_load((ROOT / "workflow/three_seeds.yaml").read_text())["study"]
    document["data"]["external"]["roots"] = {"hospital_b": ELSEWHERE}
    (folder / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    for name in ("Snakefile", "rules", "stages", "workflow"):
        (folder / name).symlink_to(ROOT / name)
    return dvc_sync.jobs(dvc_sync.dry_run(folder, "all", "nodules_seeds"))


def stages(jobs: list[dvc_sync.Job]) -> dict[str, Any]:
    document = shipped()
    document["data"]["external"]["roots"] = {"hospital_b": ELSEWHERE}
    found: dict[str, Any] = dvc_sync.dvc(jobs, document)["stages"]
    return found


def params(job: dvc_sync.Job) -> dict[str, Any]:
    words = shlex.split(job.command.partition(" 2>&1")[0].strip("()"))
    document: dict[str, Any] = json.loads(words[words.index("--params") + 1])
    return document


def test_the_first_seed_is_the_study_itself_in_its_usual_place(jobs: list[dvc_sync.Job]) -> None:
    ours, theirs = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"], stages(jobs)
    assert not [name for name in ours if "external" in name or "seeded" in name or "join" in name]
    assert len(ours) > 15
    assert set(ours) <= set(theirs)
    alike = [name for name in ours if name not in {*SHOWS_SEEDS, "nodules_measure"}]
    assert all(theirs[name]["outs"] == ours[name]["outs"] for name in ours)
    assert {name: theirs[name] for name in alike} == {name: ours[name] for name in alike}


def test_another_seed_repeats_the_split_the_training_and_what_follows_and_nothing_else(
    jobs: list[dvc_sync.Job],
) -> None:
    first = [(job.rule, *job.systems) for job in jobs if not job.rule.startswith("seeded_")]
    needs_split = {path for job in jobs if job.rule == "data_split" for path in job.writes}
    follows = set()
    while True:  # everything behind the split that a measure needs
        more = {job.rule for job in jobs if needs_split & {*job.reads}} - follows
        if not more:
            break
        follows |= more
        needs_split |= {path for job in jobs if job.rule in follows for path in job.writes}
    shown = {rule for rule in follows if re.search(r"submit|section|report|seeds|join", rule)} | {"all"}
    repeated = {"data_split", *follows} - shown
    assert repeated >= REPEATED
    for seed in OTHERS:
        found = [(job.rule.removeprefix("seeded_"), *job.systems[:-1]) for job in jobs if job.systems[-1:] == [seed]]
        assert sorted(found) == sorted(one for one in first if one[0] in repeated)


@pytest.mark.parametrize("seed", OTHERS)
def test_a_seed_has_its_own_files_and_shares_only_what_does_not_depend_on_it(
    jobs: list[dvc_sync.Job], seed: str
) -> None:
    own = [job for job in jobs if job.rule.startswith("seeded_") and job.systems[-1] == seed]
    assert len(own) > 10
    for job in own:
        assert all(f"/seeds/{seed}/" in path for path in job.writes)
        named = [*job.reads, *re.findall(r"results/[\w/.-]+", job.command)]
        assert [path for path in named if path.startswith("results/") and f"/seeds/{seed}/" not in path
                and not re.match(SHARED, path)] == []  # fmt: skip
        assert "{seed}" not in job.command


def test_the_seed_is_added_to_those_of_split_and_training_alone(jobs: list[dvc_sync.Job]) -> None:
    data, nodules = shipped()["data"], shipped()["nodules"]
    for seed in ("0", *OTHERS):
        of_seed = [job for job in jobs if (job.systems[-1:] or ["0"]) == [seed] or (seed == "0" and job.systems == [])]
        named = {job.rule.removeprefix("seeded_"): params(job) for job in of_seed if "--params" in job.command}
        assert named["data_split"]["data"]["split"] == {**data["split"], "seed": data["split"]["seed"] + int(seed)}
        trained = named["nodules_train"]["nodules"]["train"]
        assert trained == {**nodules["train"], "seed": nodules["train"]["seed"] + int(seed)}
        measured = named["nodules_measure"]
        assert measured["nodules"]["measure"] == nodules["measure"]
        assert measured["nodules"]["train"] == trained


def test_dvc_has_a_stage_for_each_seed(jobs: list[dvc_sync.Job]) -> None:
    found = stages(jobs)
    for seed in OTHERS:
        training = found[f"seeded_nodules_train-{seed}"]
        assert f"results/nodules/seeds/{seed}/train/adapter" in training["outs"]
        assert f"results/data/seeds/{seed}/split.parquet" in training["deps"]
        assert "study.seeds" in training["params"]
        assert f"results/nodules/seeds/{seed}/train/adapter" in found[f"seeded_nodules_infer-tuned-{seed}"]["deps"]
    assert "study.seeds" in found["nodules_train"]["params"]
    joined = [f"results/nodules/{place}measure/measures.parquet" for place in ("", "seeds/1/", "seeds/2/")]
    assert set(joined) <= set(found["nodules_join"]["deps"])
    assert all(found["nodules_join"]["outs"][0] in found[name]["deps"] for name in SHOWS_SEEDS)


def test_other_data_are_scored_by_every_classifier_and_nothing_is_fitted_on_them(jobs: list[dvc_sync.Job]) -> None:
    there = {job.rule: job for job in jobs if "external" in job.rule and not job.rule.startswith("seeded_")}
    assert params(there["data_ingest_external"])["data"]["ingest"] == {**shipped()["data"]["ingest"], "root": ELSEWHERE}
    calibrate = there["nodules_calibrate_external"]
    names = list(shipped()["nodules"]["classifiers"])
    scored = {f"results/nodules/external/hospital_b/infer/{name}.parquet" for name in names}
    assert set(calibrate.writes) == scored
    assert "--fitted results/nodules/infer/zero_shot_calibration.json" in calibrate.command
    assert "--manifest" not in calibrate.command
    assert "--split" not in "".join(job.command for job in there.values())
    (measured,) = [job for job in jobs if job.rule == "nodules_measure"]
    assert scored | {"results/data/external/hospital_b/manifest.parquet"} <= set(measured.reads)
    (inferred,) = [
        job for job in jobs if (job.rule, *job.systems) == ("nodules_infer_external_shard", "tuned", "hospital_b")
    ]
    assert "results/nodules/train/adapter" in inferred.reads
    assert stages(jobs)["data_ingest_external-hospital_b"]["deps"].count("${data.external.roots.hospital_b}") == 1


def test_other_data_are_read_once_and_scored_by_the_model_of_each_seed(jobs: list[dvc_sync.Job]) -> None:
    assert len([job for job in jobs if job.rule.endswith("data_ingest_external")]) == 1
    for seed in OTHERS:
        (inferred,) = [
            job
            for job in jobs
            if (job.rule, *job.systems) == ("seeded_nodules_infer_external_shard", "tuned", "hospital_b", seed)
        ]
        assert f"results/nodules/seeds/{seed}/train/adapter" in inferred.reads
        (measured,) = [job for job in jobs if (job.rule, *job.systems) == ("seeded_nodules_measure", seed)]
        assert f"results/nodules/seeds/{seed}/external/hospital_b/infer/tuned.parquet" in measured.reads


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1]])
def test_a_list_of_seeds_that_is_none_is_refused(seeds: list[int]) -> None:
    document = shipped()
    document["study"]["seeds"] = seeds
    with pytest.raises(ParamsError, match=r"study\.seeds|wanted one or more"):
        registry.check(document)
