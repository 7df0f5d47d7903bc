"""The doctor says what is missing on a machine for the preset in force."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from stages.data import ingest
from stages.lib.core.errors import DataError, ModelError
from stages.lib.core.params import parse
from stages.weights import fetch
from workflow import doctor

PRESETS = Path(__file__).parents[2] / "workflow" / "presets"
SHIPPED = (PRESETS / "demo.yaml").read_text()
DEMO = {
    "data": {"ingest": {"root": "results/data/simulate"}, "normalize": {"side_px": 112}},
    "weights": {"fetch": {"base": "results/weights/pretrain/chest", "revision": "none"}},
    "nodules": {"model": {"dtype": "float32"}},
}
REAL = {
    "data": {"ingest": {"root": "/data/nodulocc"}, "normalize": {"side_px": 896}},
    "weights": {"fetch": {"base": "google/medgemma-1.5-4b-it", "revision": "main"}},
    "nodules": {"model": {"dtype": "bfloat16"}},
}
OWN = {"kind": "chexagent", "model": "StanfordAIMI/CheXagent-2-3b"}
REAL_WITH_OWN = {**REAL, "nodules": {**REAL["nodules"], "localizers": {"chexagent": OWN}}}
LAPTOP = doctor.Machine(
    python=(3, 11, 7),
    cores=2,
    memory_gb=4.1,
    free_gb=10.0,
    packages={"numpy": "2.4.6", "torch": "2.13.0+cpu"},
    locked={"numpy": "2.4.6", "torch": "2.13.0"},
    repositories={"git": True, "commit": True, "dvc": True, "plots": True},
    gpus=(),
    slurm=None,
    chromium=None,
    token=None,
    access=None,
    chexagent=None,
    chexagent_access=None,
    data=None,
)
RTX4090 = doctor.Gpu("NVIDIA GeForce RTX 4090", 25.76, (8, 9))
WORKSTATION = replace(
    LAPTOP,
    memory_gb=33.0,
    free_gb=100.0,
    packages={"numpy": "2.4.6", "torch": "2.13.0"},
    gpus=(RTX4090,),
    token=".env",
    access="allowed",
    data=doctor.Data("nodulocc", 63_179, 63_000),
)


def png(path):
    grey = np.random.default_rng(0).integers(0, 65536, (64, 64)).astype(np.uint16)
    cv2.imwrite(str(path), grey)


def mends(document, machine):
    return [str(check) for check in doctor.checks(document, machine) if check.mend is not None]


def test_the_demo_wants_nothing_but_a_laptop():
    assert mends(DEMO, LAPTOP) == []


def test_the_real_study_wants_nothing_more_on_a_workstation():
    assert mends(REAL, WORKSTATION) == []


def test_the_real_study_on_the_laptop_names_all_that_is_missing_at_once():
    bare = replace(
        LAPTOP,
        access="refused: accept the licence at https://huggingface.co/x",
        data=doctor.Data("", 0, 0, ["found no such folder"]),
    )
    lines = "\n".join(mends(REAL, bare))
    for wanted in ("memory: 4.1 GB, wanted 16", "GPU: nvidia-smi shows none", "accept the licence", "data:"):
        assert wanted in lines


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        ({"python": (3, 10, 12)}, "install Python 3.11"),
        ({"packages": {"torch": "2.13.0"}}, "numpy is missing (wanted 2.4.6): make setup"),
        ({"packages": {"torch": "2.13.0", "numpy": "2.3.0"}}, "numpy 2.3.0 (wanted 2.4.6): make setup"),
        ({"locked": {}}, "requirements.lock"),
        ({"repositories": {**LAPTOP.repositories, "dvc": False}}, "DVC repository: none: dvc init"),
        ({"repositories": {**LAPTOP.repositories, "plots": False}}, "scripts: none: python -m workflow.plots"),
        ({"repositories": {**LAPTOP.repositories, "commit": False}}, "first commit: none: git add"),
        ({"memory_gb": 8.0}, "memory: 8.0 GB, wanted 16"),
        ({"free_gb": 20.0}, "disk: 20 GB free"),
        (
            {"gpus": (doctor.Gpu("A4000", 15.8, (8, 6)),)},
            "16 GB, wanted 24: lower nodules.train.per_device_train_batch_size",
        ),
        ({"gpus": (doctor.Gpu("Quadro", 50.0, (7, 5)),)}, "bfloat16: compute capability 7.5, wanted 8.0"),
        ({"packages": {"torch": "2.13.0+cpu", "numpy": "2.4.6"}}, "torch is the build without CUDA"),
        ({"access": "refused: accept the licence"}, "may not be had: accept the licence"),
        (
            {"data": doctor.Data("", 0, 0, ["no file classification_labels.csv", "b.", "c", "d", "e"])},
            "data: /data/nodulocc is refused by ingest (no file classification_labels.csv; b; c; and 2 more): correct",
        ),
    ],
)
def test_each_fault_alone_is_the_one_line_to_mend(fault, wanted):
    lines = mends(REAL, replace(WORKSTATION, **fault))
    assert len(lines) == 1
    assert wanted in lines[0]
    assert lines[0].startswith("MEND  ")


@pytest.mark.parametrize(
    "fault",
    [
        {"slurm": None, "chromium": None},
        {"slurm": ["gpu:2", "(null)"], "chromium": "/usr/bin/chromium"},
        {"token": None},
        {"access": "unreachable"},
        {"access": "cached", "token": None},
        {"gpus": (), "slurm": ["gpu:fake:2"]},
    ],
)
def test_what_the_preset_can_do_without_fails_nothing(fault):
    assert mends(REAL, replace(WORKSTATION, **fault)) == []


@pytest.mark.parametrize(
    ("state", "access", "wanted"),
    [
        ("ready", "cached", "transformers 4.40.0, as locked"),
        ("ready", "allowed", "may be fetched; for non-commercial use only (cc-by-nc-4.0)"),
        ("absent", "unreachable", "make setup-chexagent"),
        ("absent", None, "a folder; for non-commercial use only"),
    ],
)
def test_chexagent_is_named_with_its_licence_and_built_when_it_is_first_asked(state, access, wanted):
    document = REAL_WITH_OWN
    machine = replace(WORKSTATION, chexagent=state, chexagent_access=access)
    assert mends(document, machine) == []
    assert wanted in "\n".join(map(str, doctor.checks(document, machine)))


@pytest.mark.parametrize(
    ("state", "access", "wanted"),
    [("no python", "cached", "install one of them"), ("ready", "refused: accept the licence", "accept the licence")],
)
def test_what_chexagent_lacks_is_a_line_to_mend(state, access, wanted):
    machine = replace(WORKSTATION, chexagent=state, chexagent_access=access)
    (line,) = mends(REAL_WITH_OWN, machine)
    assert wanted in line


def test_looking_for_chexagent_asks_the_hub_for_model_and_encoder(monkeypatch):
    document = yaml.safe_load((PRESETS / "nodulocc.yaml").read_text())
    asked = []
    monkeypatch.setattr(fetch, "read_token", lambda environ: "hf_Secret")
    monkeypatch.setattr(fetch, "access", lambda source, *rest: asked.append(source.base) or "allowed")
    assert doctor.chexagent(document)[1] == "allowed"
    assert asked == [document["nodules"]["localizers"]["chexagent"][name] for name in ("model", "encoder")]
    assert doctor.chexagent(yaml.safe_load(SHIPPED)) == (None, None)


def test_a_gpu_on_a_node_without_one_is_asked_of_slurm_only_if_slurm_has_one():
    assert "snakemake --profile slurm" in str(
        [str(check) for check in doctor.checks(REAL, replace(WORKSTATION, gpus=(), slurm=["gpu:2"]))]
    )
    assert len(mends(REAL, replace(WORKSTATION, gpus=(), slurm=["(null)"]))) == 1


def test_images_that_have_to_be_written_are_counted_in_the_disk_that_is_wanted():
    small = replace(WORKSTATION, data=doctor.Data("folder", 100, 100), free_gb=12.0)
    assert mends(REAL, small) == []
    assert mends(REAL, replace(small, data=WORKSTATION.data)) != []


def test_a_folder_as_base_has_to_be_there(tmp_path):
    absent = {**REAL, "weights": {"fetch": {"base": str(tmp_path / "absent"), "revision": "none"}}}
    machine = replace(WORKSTATION, access=None)
    assert "set weights.fetch.base" in mends(absent, machine)[0]
    assert mends({**REAL, "weights": {"fetch": {"base": str(tmp_path), "revision": "none"}}}, machine) == []


def test_the_hub_is_asked_only_about_a_model_of_the_hub(monkeypatch):
    monkeypatch.setattr(fetch, "read_token", lambda environ: "hf_Secret")
    monkeypatch.setattr(fetch, "access", lambda *args: pytest.fail("asked"))
    assert doctor.hub(DEMO) == (None, None)


def test_a_refusal_of_the_hub_is_reported_and_the_token_is_not(monkeypatch):
    def refuse(*args):
        raise ModelError("accept the licence")

    monkeypatch.setenv("HF_TOKEN", "hf_Secret")
    monkeypatch.setattr(fetch, "access", refuse)
    assert doctor.hub(REAL) == ("the environment", "refused: accept the licence")
    monkeypatch.setattr(fetch, "access", lambda *args: "allowed")
    lines = [str(check) for check in doctor.checks(REAL, replace(WORKSTATION, token=doctor.hub(REAL)[0]))]
    assert "OK    Hugging Face token: in the environment" in lines
    assert "hf_Secret" not in str(lines)


def test_a_lock_is_read_for_this_python_only():
    text = "a==1 ; python_full_version >= '3.11' \\\n    --hash=sha256:0\nb==2 ; sys_platform == 'win32'\n# c==3\n"
    assert doctor.locked(text) == {"a": "1"}


@pytest.mark.parametrize("answer", [None, "", "No devices were found", "name, [N/A], 8.9"])
def test_an_answer_of_nvidia_smi_without_gpus_is_no_gpu(answer):
    assert doctor.gpus(answer) == []


def advice(path):
    (line,) = doctor.examine(str(path))
    return str(line)


def test_bad_parameters_are_a_line_not_a_traceback_and_only_where_there_are_none_is_a_preset_advised(tmp_path):
    path = tmp_path / "params.yaml"
    assert advice(path).endswith("there is no such file: make preset NAME=demo")
    for content, wanted in [
        (SHIPPED.replace("learning_rate", "learning_rat").encode(), "did you mean 'nodules.train.learning_rate'?"),
        (b"just words\n", "wanted chapters and sections"),
        (b"a: [1\n", "is not YAML"),
        (SHIPPED.encode("utf-16"), "is not UTF-8 text: save it as UTF-8"),
    ]:
        path.write_bytes(content)
        assert wanted in advice(path)
        assert "make preset" not in advice(path)
        assert "Error" not in advice(path)
    path.unlink()
    path.mkdir()
    assert "cannot be read (Is a directory)" in advice(path)


def test_a_token_file_that_is_not_utf_8_is_the_line_to_mend_and_not_the_parameters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / ".env").write_bytes("HF_TOKEN=hf_Secret\n".encode("utf-16"))
    assert doctor.hub(REAL)[1].startswith("refused: '.env' is not UTF-8 text")
    lines = mends(REAL, replace(WORKSTATION, access=doctor.hub(REAL)[1]))
    assert len(lines) == 1
    assert "save it as UTF-8" in lines[0]
    assert "hf_Secret" not in lines[0]


def folder(path, **changes):
    document = yaml.safe_load(SHIPPED)
    document["data"]["ingest"] |= {"root": str(path), **changes}
    return document


def line_about_data(document):
    found = replace(LAPTOP, data=doctor.data(document))
    (line,) = [str(check) for check in doctor.checks(document, found) if check.what.startswith("data: ")]
    return line


@pytest.mark.parametrize("labels", [None, "file_name,label,LIDC_ID\n00000012_000.png,No Finding,\n"])
def test_the_doctor_and_ingest_agree_on_a_folder(tmp_path, labels):
    """One folder of images of the challenge's two, with tables and without: as it is, and with a problem each."""
    images = tmp_path / "data/nih_filtered_images"
    images.mkdir(parents=True)
    png(images / "00000012_000.png")
    if labels is not None:
        (tmp_path / "data/classification_labels.csv").write_text(labels)
        (tmp_path / "data/localization_labels.csv").write_text("file_name,x,y\n")
    cases = [tmp_path / "data", images, tmp_path / "absent", tmp_path]
    for root in cases:
        document = folder(root)
        try:
            rows = ingest.ingest(parse(document, {"data.ingest": ingest.Params}).ingest).manifest.num_rows
        except DataError as error:
            assert line_about_data(document).startswith("MEND  "), root
            assert error.problems[0].rstrip(".") in line_about_data(document)
        else:
            assert line_about_data(document).startswith(f"OK    data: {root}, {rows} images (layout "), root
    assert line_about_data(folder(tmp_path / "absent")).startswith("MEND  ")
    assert ", 1 images (layout folder, 0 labelled: they can be scored with predict" in line_about_data(folder(images))


def test_an_image_that_ingest_would_not_open_is_a_line_to_mend_beyond_max_rejected(tmp_path):
    png(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "nowhere.png")
    assert line_about_data(folder(tmp_path)).startswith(f"MEND  data: {tmp_path} is refused by ingest ('b.png': ")
    assert line_about_data(folder(tmp_path, max_rejected=1)).startswith("OK    ")


def test_what_the_tables_alone_contradict_is_a_line_to_mend_as_ingest_says_it(tmp_path):
    """Points in fractions of the side, and on an image without a nodule: no image has to be opened for either."""
    (tmp_path / "nih_filtered_images").mkdir()
    png(tmp_path / "nih_filtered_images/00000012_000.png")
    points = tmp_path / "localization_labels.csv"
    for label, place in (("Nodule", "0.25,0.5"), ("No Finding", "20,30")):
        (tmp_path / "classification_labels.csv").write_text(f"file_name,label,LIDC_ID\n00000012_000.png,{label},\n")
        points.write_text(f"file_name,x,y\n00000012_000.png,{place}\n")
        document = folder(tmp_path)
        with pytest.raises(DataError) as caught:
            ingest.ingest(parse(document, {"data.ingest": ingest.Params}).ingest)
        assert line_about_data(document).startswith("MEND  ")
        assert caught.value.problems[0] in line_about_data(document)
    points.write_text("file_name,x,y\n")
    assert line_about_data(folder(tmp_path)).startswith("OK    ")


def test_a_base_folder_that_fetch_would_refuse_is_a_line_to_mend(tmp_path):
    base = shutil.copytree(PRESETS.parent / "demo_base", tmp_path / "base")
    document = {**DEMO, "weights": {"fetch": {"base": str(base), "revision": "none"}}}
    assert doctor.hub(document) == (None, None)
    (base / "chat_template.jinja").unlink()
    (line,) = mends(document, replace(LAPTOP, access=doctor.hub(document)[1], data=None))
    assert "is refused by fetch" in line
    assert "chat_template.jinja is missing" in line


def test_a_package_that_cannot_be_imported_is_a_line_not_a_traceback():
    def look(document):
        raise ImportError("No module named 'psutil'")

    assert [str(check) for check in doctor.examine(str(PRESETS / "demo.yaml"), look)] == [
        "MEND  packages: No module named 'psutil': make setup"
    ]


@pytest.mark.parametrize("preset", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_can_be_examined_and_only_those_of_the_hub_want_a_gpu(preset):
    lines = doctor.examine(str(preset), lambda document: WORKSTATION)
    assert len(lines) > 10
    document = yaml.safe_load(preset.read_text())
    fetched = [document["weights"]["fetch"]] if "weights" in document else []
    in_process = [row for row in document.get("findings", {}).get("arms", {}).values() if row["kind"] == "local"]
    model = document.get("lofi", {}).get("model", {}) if "lofi" in document["study"]["chapters"] else {}
    revisions = [row["revision"] for row in [*fetched, *in_process]]
    revisions += [value for name, value in model.items() if name.endswith("_revision")]
    assert doctor.needs_gpu(document) is any(revision != "none" for revision in revisions)


def test_the_exit_code_tells_whether_anything_is_to_mend(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda path: doctor.checks(DEMO, LAPTOP))
    assert doctor.main([]) == 0
    assert "All that this preset wants is here" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "examine", lambda path: doctor.checks(DEMO, replace(LAPTOP, memory_gb=1.0)))
    assert doctor.main([]) == 1
    assert "1 to mend" in capsys.readouterr().out


def test_looking_at_this_machine_finds_what_python_says_of_it():
    found = doctor.look(DEMO)
    assert found.python == sys.version_info[:3]
    assert found.packages["pytest"] == pytest.__version__
    assert found.memory_gb > 0.1
    assert found.cores >= 1
    assert found.access is None


def test_the_doctor_imports_only_the_standard_library_until_it_is_asked():
    code = "import sys, workflow.doctor; print([m for m in ('yaml', 'numpy', 'torch', 'psutil') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
