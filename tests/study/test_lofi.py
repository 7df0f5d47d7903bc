"""The chapter lofi as a whole: the same DAG for both engines, the same bytes after kills, and a page that fits."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import checkout as checkouts
import lofi_study
import numpy as np
import pytest
from chromium import Browser
from lofi_study import ADAPTERS, ASKED, ENCODERS, GROUNDERS, IMAGES, SMALL_LOFI, TABLES, VARIANT

from stages.lib.core import tables

pytestmark = pytest.mark.slow

AS_IS = "results/lofi/ablations/as_is/0"
SHOWN = {"lofi_section", "lofi_report", "report"}  # the section shows the parameters too
CHANGES: tuple[tuple[Mapping[str, Mapping[str, Any]], set[tuple[str, str]], set[str]], ...] = (
    # of these parameters, which jobs of a row Snakemake runs again, and which others
    (
        {"lofi.grounders.map": {"box_fraction": 0.6}, "lofi.tune": {"seed": 4}},
        {("lofi_ground", "map"), ("lofi_tune", "tuned_lofi"), ("lofi_ground", "tuned_lofi")},
        {"lofi_measure", *SHOWN},
    ),
    (
        {
            "lofi.grounders.map": {"label": "Map"},
            "lofi.encoders.base": {"label": "Base"},
            "lofi.export": {"dtype": "bfloat16"},
            "lofi.alike": {"k": 3},
        },
        set(),
        SHOWN,
    ),
)
PLAIN = """
import json, sys
import numpy as np
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

folder, png = sys.argv[1:]
assert not [name for name in sys.modules if name.split(".")[0] == "stages"]
processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
pixels = processor(Image.open(png).convert("RGB"), return_tensors="pt")["pixel_values"]
print(json.dumps(AutoModel.from_pretrained(folder).eval().get_image_features(pixels).pooler_output[0].tolist()))
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study that was killed in train, embed and ground, with its ablations and the exported encoder."""
    folder = checkouts.copy(tmp_path_factory.mktemp("lofi") / "checkout", SMALL_LOFI)
    checkouts.run(folder, "python", "-m", "workflow.dvc_sync")
    checkouts.run(folder, "git", "commit", "-qam", "stages of the chapter alone")
    lofi_study.kill_when(folder, "lofi_train.log", "checkpoints/train/*/checkpoint-3/COMMIT")
    assert not (folder / "results/lofi/train/train.json").exists()
    lofi_study.kill_when(folder, "lofi_embed", "vectors/*/*.bin")
    lofi_study.kill_when(folder, "lofi_ground/in_context_0.log", "features/*/*/*.safetensors")
    assert not (folder / "results/lofi/ground/in_context_0.parquet").exists()
    lofi_study.snakemake(folder, "all", "lofi", "lofi_export")
    lofi_study.forget(folder)
    lofi_study.snakemake(folder, "lofi_ablations")
    return folder


def read(study: Path, name: str) -> list[dict[str, Any]]:
    """Rows of a table of the chapter."""
    rows: list[dict[str, Any]] = tables.read(study / f"results/lofi/{name}.parquet", TABLES[name]).to_pylist()
    return rows


def test_every_artifact_is_there_and_every_table_reads(study: Path) -> None:
    for name in TABLES:
        rows = read(study, name)
        assert rows, name
    images = {(row["split"], row["image_id"]) for row in read(study, "pairs")}
    assert Counter(split for split, _ in images) == IMAGES
    for name in GROUNDERS:
        assert len(read(study, f"ground/{name}")) == ASKED
    for name in ENCODERS:
        assert len(read(study, f"embed/{name}_images")) == sum(IMAGES.values())
    shown = json.loads((study / "results/lofi/metrics.json").read_text())["lofi"]
    assert {"retrieval", "grounding"} <= set(shown)
    assert (study / "results/report.html").read_bytes()


def test_kills_and_a_second_run_in_another_folder_change_no_byte_of_what_is_learned_and_answered(study: Path) -> None:
    """The variant without a change has the chapter's parameters and seed, took up nothing, and was not killed."""
    own, other = study / "results/lofi", study / AS_IS
    for first, second in ADAPTERS.items():
        names = {path.name for path in (own / first).iterdir() if not path.name.startswith(".")}
        assert {path.name for path in (other / second).iterdir() if not path.name.startswith(".")} == names
        for name in names:
            assert (own / first / name).read_bytes() == (other / second / name).read_bytes(), f"{first}/{name}"
    grounded = "ground/tuned_lofi.parquet"
    assert (own / grounded).read_bytes() == (other / grounded).read_bytes()
    tabled = {"lofi_images": "encoder_images", "lofi_texts": "encoder_texts"}
    tabled = {f"embed/{first}": second for first, second in tabled.items()}
    tabled |= {f"{name}/lofi": f"{name}/encoder" for name in ("retrieve", "neighbours")}
    for first, second in tabled.items():
        one, two = (
            tables.read(path, TABLES[first]) for path in (own / f"{first}.parquet", other / f"{second}.parquet")
        )
        assert one.equals(two), first


def test_nothing_is_left_to_do_and_both_engines_agree(study: Path) -> None:
    checkouts.run(study, "dvc", "commit", "-f")
    assert "up to date" in checkouts.run(study, "dvc", "status")
    assert checkouts.planned(study, "all", "lofi") == set()


@pytest.mark.parametrize(("changes", "jobs", "rules"), CHANGES, ids=[next(iter(one)) for one, *_ in CHANGES])
def test_a_changed_row_reruns_its_own_jobs_alone_and_a_changed_label_none(
    study: Path, changes: Mapping, jobs: set, rules: set
) -> None:
    before = (study / "params.yaml").read_text()
    try:
        checkouts.change(study, changes)
        text = checkouts.run(study, "snakemake", "-n", "--nocolor", "--", "all", "lofi")
    finally:
        (study / "params.yaml").write_text(before)
    assert lofi_study.planned(text) == {*jobs, *((rule, "") for rule in rules)}


def test_plain_transformers_load_the_exported_encoder_and_embed_an_image_as_the_chapter_did(study: Path) -> None:
    kept = read(study, "embed/lofi_images")[0]
    png = next(row["png"] for row in read(study, "normalized") if row["image_id"] == kept["image_id"])
    elsewhere = study.parent  # no package of ours is there
    arguments = (str(study / "results/lofi/export/encoder"), str(study / "results" / png))
    text = checkouts.run(elsewhere, "python", "-I", "-c", PLAIN, *arguments)
    vector = np.array(json.loads(text.splitlines()[-1]))
    np.testing.assert_allclose(vector / np.linalg.norm(vector), kept["vector"], atol=2e-5)


def test_the_page_of_the_ablations_has_the_variant(study: Path) -> None:
    page = (study / "results/lofi/ablations/report.html").read_text()
    assert VARIANT in page or VARIANT.replace("_", " ") in page.lower()
    assert (study / f"results/lofi/ablations/{VARIANT}/0/metrics.csv").stat().st_size


@pytest.mark.parametrize(("width", "scheme"), [(400, "light"), (1024, "dark"), (1600, "light")])
@pytest.mark.parametrize("page", ["results/lofi/report.html", "results/lofi/ablations/report.html"])
def test_a_browser_shows_the_page_without_overflow_error_or_request(
    browser: Browser, study: Path, page: str, width: int, scheme: str
) -> None:
    session = browser.show(study / page, width=width, scheme=scheme)
    assert browser.value(session, "document.documentElement.scrollWidth") <= width
    assert browser.value(session, "[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    captions = "[...document.querySelectorAll('figcaption')]"
    behind = "getComputedStyle(caption.closest('figure')).backgroundColor"
    assert browser.value(session, f"{captions}.every(caption => {behind} === 'rgba(0, 0, 0, 0)')"), "dark on black"
    assert not browser.complaints()
    asked = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    assert asked
    assert all(url.startswith(("file:", "data:")) for url in asked)
