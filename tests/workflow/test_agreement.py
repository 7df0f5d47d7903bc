"""Rules, dvc.yaml, stages, parameters and schema agree, and not because there is nothing to compare."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from stages.lib.core import closure, params
from workflow import dvc_sync, lint, registry, schema

ROOT = Path(__file__).parents[2]
STAGES = sorted(
    ".".join(path.relative_to(ROOT / "stages").with_suffix("").parts)
    for path in (ROOT / "stages").rglob("[a-z]*.py")
    if "lib" not in path.parts and '__name__ == "__main__"' in path.read_text()
)
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "workflow/docs").glob("*.md"))]
HEAVY = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "pandas",
    "scipy",
    "sklearn",
    "cv2",
    "matplotlib",
    "pydicom",
    "highdicom",
    "openai",
    "rouge_score",
    "nltk",
)


@pytest.fixture(scope="module")
def jobs() -> list[dvc_sync.Job]:
    return dvc_sync.jobs(dvc_sync.dry_run(ROOT))


def test_dvc_yaml_is_what_the_rules_say() -> None:
    text = (ROOT / "dvc.yaml").read_text()
    assert len(yaml.safe_load(text)["stages"]) >= 10
    assert text == dvc_sync.render(ROOT)


def test_each_rule_of_the_study_is_in_one_dvc_stage_and_runs_an_existing_stage(jobs: list[dvc_sync.Job]) -> None:
    made = {(job.rule, *job.systems) for job in jobs if job.writes}
    allowed = []
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        systems = name.split("-")[1:]
        allowed += [(rule, *systems) for rule in re.search(r"--allowed-rules (.*?) --", stage["cmd"])[1].split()]
    assert sorted(allowed) == sorted(made)
    called = {name for job in jobs for name in re.findall(r"python -m stages\.([\w.]+)", job.command)}
    assert called <= set(STAGES)
    assert len(called) >= 11


def test_every_stage_is_run_by_some_rule() -> None:
    text = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    assert STAGES
    run = set(re.findall(r"python -m stages\.([\w.]+) ", text))
    assert set(STAGES) == run


def test_a_rule_that_joins_shards_carries_what_they_were_asked() -> None:
    """Shards are not kept: after one that failed, the joined table would stay as of other parameters."""
    text = "\n".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    joins = [block for block in re.split(r"\n(?=(?:use )?rule )", text) if ".gather --table" in block]
    assert len(joins) >= 6
    assert [block.split(":")[0] for block in joins if "asked=" not in block] == []


def test_the_schema_is_what_the_stages_say() -> None:
    assert (ROOT / schema.PATH).read_text() == schema.render()


def test_params_yaml_as_shipped_is_the_demo() -> None:
    assert (ROOT / "params.yaml").read_text() == (ROOT / "workflow/presets/demo.yaml").read_text()


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "workflow/presets").glob("*.yaml")))
def test_every_preset_passes_the_check(name: str) -> None:
    document = yaml.safe_load((ROOT / f"workflow/presets/{name}.yaml").read_text())
    left_out = registry.absent(document) | (set() if name == "demo" else set(registry.DEMO))
    assert params.names(document, registry.HOMES) == [part for part in registry.HOMES if part not in left_out]
    registry.check(document)


def test_the_code_of_a_stage_is_found_through_its_imports() -> None:
    found = closure.closure("stages.data.split")
    assert {
        "stages/data/split.py",
        "stages/lib/core/tables.py",
        "stages/lib/core/files.py",
        "stages/lib/core/errors.py",
    } <= set(found)
    assert not any("torch" in name or "models" in name for name in found)
    assert not any(name.endswith("__init__.py") for name in found)


def test_the_code_of_ingest_holds_every_layout_and_what_it_reads_files_by() -> None:
    """They are taken by name, so no import names them."""
    found = closure.closure("stages.data.ingest")
    layouts = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "stages/lib/images/layouts").glob("*.py"))
    assert len(layouts) > 3
    assert {*layouts, "stages/lib/images/listing.py", "stages/lib/images/csvfile.py"} <= set(found)


def test_no_stage_imports_a_heavy_package_before_it_needs_it() -> None:
    program = "\n".join(
        [
            "import sys",
            *(f"import stages.{name}" for name in STAGES),
            "from workflow import registry; registry.sections()",
            f"print(sorted(set(sys.modules) & set({HEAVY!r})))",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_tells_its_contract(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(f"stages.{name}").main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "usage:" in told
    assert "out " in told


def test_a_stage_is_a_command() -> None:
    command = [sys.executable, "-m", "stages.data.split", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "out " in done.stdout


def test_the_diagram_in_the_readme_shows_true_edges(jobs: list[dvc_sync.Job]) -> None:
    """Every arrow of the README is a path of the DAG, and every stage of the study is on it."""
    maker = {path: job.rule for job in jobs for path in job.writes}
    needs: dict[str, set[str]] = {}
    for job in jobs:
        name = job.rule.removesuffix("_shard")
        needs.setdefault(name, set()).update(maker[path].removesuffix("_shard") for path in job.reads if path in maker)
    drawn = set()
    block = re.search(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    for line in block.splitlines()[1:]:
        left, right = (part.split("&") for part in line.split("-->"))
        drawn |= {(a.strip(), b.strip()) for a in left for b in right}
    assert len(drawn) > 10
    assert {edge for edge in drawn if edge[0] not in needs[edge[1]]} == set()
    assert {name for edge in drawn for name in edge} == set(needs) - {"all"}


def test_the_linter_s_findings_are_read_and_only_the_named_ones_excused() -> None:
    text = (
        "Lints for rule ingest (line 8, rules/data.smk):\n"
        "    * Specify a conda environment or container for each rule.:\n"
        "    * Something else:\n"
        "Lints for rule all (line 1, Snakefile):\n"
        "    * No log directive defined:\n"
    )
    assert lint.findings(text) == ["ingest: Something else"]


def test_a_wrong_parameter_stops_snakemake_before_anything_runs(tmp_path: Path) -> None:
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    document["data"]["split"]["sead"] = 1
    document["data"]["normalize"]["side_px"] = 0
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(document))
    command = [sys.executable, "-m", "snakemake", "-n", "--configfile", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode
    text = done.stdout + done.stderr
    assert "data.split.sead: unknown; did you mean 'data.split.seed'?" in text
    assert "data.normalize.side_px: found 0" in text


def test_every_test_that_a_document_names_exists() -> None:
    named = {name for path in DOCUMENTS for name in re.findall(r"`(test_\w+)`", path.read_text())}
    known = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert len(named) >= 40
    assert named <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_link_module_and_parameter_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text()
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^):]+)\)", text)}
    assert {link for link in links if not (document.parent / link).exists()} == set()
    paths = set(re.findall(r"`((?:stages|workflow|tests|rules)/[\w./]+)`", text))
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    modules = {name.replace(".", "/") for name in re.findall(r"`(?:stages\.)?(lib\.[\w.]+)`", text)}
    assert {name for name in modules if not list((ROOT / "stages").glob(f"{name}*"))} == set()
    keys = set(re.findall(r"(?<![/.\w])((?:data|weights|nodules)\.[a-z_]+(?:\.[a-z_]+)?)\b(?![./(])", text))
    assert keys <= _parameters()


def _parameters() -> set[str]:
    """Every section and key of the parameters, by dotted name."""
    known = set()
    for name, section in registry.sections().items():
        fields = [] if isinstance(section, params.Rows) else section.__dataclass_fields__
        known |= {name, *(f"{name}.{field}" for field in fields)}
    return known


def test_a_localizer_with_an_adapter_waits_for_training_and_the_base_alone_does_not() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for step in ("select", "localize"):
        adapter = "results/nodules/train/adapter"
        waits = {
            name: adapter in stages[f"nodules_{step}-{name}"]["deps"] for name in ("attribution", "attribution_tuned")
        }
        assert waits == {"attribution": False, "attribution_tuned": True}
