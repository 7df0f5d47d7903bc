"""What `dvc plots` shows is drawn without network, and holds no value that was not measured."""

import re
import shutil
from pathlib import Path

import checkout as checkouts
import pytest

from workflow import dvc_sync, plots

CURVE = (
    "step,loss,grad_norm,learning_rate,val_loss\n1,0.75,1,0.1,\n2,0.5,1,0.1,0.625\n3,0.375,1,0.1,\n4,0.25,1,0.1,0.5\n"
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=5000"),
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def test_a_script_that_would_end_itself_in_the_page_is_refused():
    assert plots.page(["one", "two"]).count("<script>") == 2
    for text in ("'</script>'", "a {plot_divs} b", "{scripts}"):
        with pytest.raises(ValueError, match="cannot stand in a page"):
            plots.page([text])


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a curve, of which the last commit has another one."""
    folder = checkouts.copy(tmp_path_factory.mktemp("plots") / "checkout", {})
    curve = folder / "results/nodules/train/curve.csv"
    curve.parent.mkdir(parents=True)
    curve.write_text(CURVE.replace("0.375", "0.4375"))
    checkouts.run(folder, "git", "add", "-f", str(curve))
    checkouts.run(folder, "git", "commit", "-qm", "a curve")
    curve.write_text(CURVE)
    return folder


@pytest.mark.slow
def test_without_its_page_dvc_plots_fails_and_the_doctor_says_what_to_do(checkout: Path) -> None:
    assert "HTML template has to contain" in checkouts.run(checkout, "dvc", "plots", "show", fails=True)
    said = checkouts.run(checkout, "python", "-c", "from workflow import doctor; doctor.main([])")
    assert "MEND  page for dvc plots, with its scripts: none: python -m workflow.plots" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "curves", "values"),
    [(("show",), 1, {"0.375"}), (("diff", "HEAD"), 2, {"0.375", "0.4375"})],
    ids=["show", "diff"],
)
def test_dvc_plots_draws_the_measured_points_and_no_others_without_network(
    checkout: Path, tmp_path: Path, command: tuple[str, ...], curves: int, values: set[str]
) -> None:
    checkouts.run(checkout, "python", "-m", "workflow.plots")
    checkouts.run(checkout, "dvc", "plots", *command, "--out", str(tmp_path / "plots"))
    page = tmp_path / "plots/index.html"
    text = page.read_text()
    assert not re.findall(r"<(?:script|link)[^>]*(?:src|href)=[^>]*", text)
    if not (program := shutil.which("chromium")):
        pytest.skip("chromium is not installed: apt-get install chromium")
    text, called = re.subn(r"(vegaEmbed\('#\w+', spec)\)", r"\1, {renderer: 'svg'})", text)
    assert called == 1 + len(dvc_sync.LIVE)
    page.write_text(text)
    drawn = checkouts.run(
        tmp_path, program, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()
    )
    points = re.findall(
        r'aria-label="step: (\d); loss: ([\d.]+); ([^"]*)" role="graphics-symbol" aria-roledescription="point"', drawn
    )
    losses = [point for point in points if point[2].endswith("field: loss")]
    measured = [point for point in points if point[2].endswith("field: val_loss")]
    assert len(losses) == 4 * curves
    assert {point[:2] for point in measured} == {("2", "0.625"), ("4", "0.5")}
    assert len(points) == len(losses) + len(measured) == 6 * curves
    assert {point[1] for point in losses if point[0] == "3"} == values
