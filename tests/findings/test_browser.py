"""The page of the findings benchmark in a browser: sizes, keys, filters, and texts that want to be scripts."""

from pathlib import Path

import findings_tables
import pytest
from chromium import Browser

from stages import report
from stages.findings import measure, section

SHOWN = "document.querySelector('.case:not([hidden])')"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = findings_tables.write(tmp_path_factory.mktemp("findings"))
    measure.main(findings_tables.measure_options(made))
    section.main(findings_tables.section_options(made))
    report.main(findings_tables.report_options(made))
    return made / "report.html"


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1024, "dark"), (1600, "light")])
def test_the_page_fits_and_no_text_runs(browser: Browser, page: Path, width: int, scheme: str) -> None:
    session = browser.show(page, width=width, scheme=scheme)
    assert browser.value(session, "document.documentElement.scrollWidth") <= width
    assert browser.value(session, "[...document.images].every(image => image.naturalWidth > 0)")
    assert browser.value(session, "document.images.length") > 30
    assert "taken" not in browser.value(session, "document.title")
    assert browser.value(session, "document.querySelectorAll('.case:not([hidden])').length") == 1
    assert browser.value(session, f"{SHOWN}.querySelectorAll('.answer:not([hidden])').length") == 2
    inside = f"[...{SHOWN}.querySelectorAll('*')].every(e => e.getBoundingClientRect().right <= {width})"
    assert browser.value(session, inside)
    dark = browser.value(session, "getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    assert dark == (scheme == "dark")
    assert not browser.complaints()
    asked = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    assert asked and all(url.startswith(("file:", "data:")) for url in asked)


@pytest.mark.slow
def test_keys_filters_and_arms_choose_what_is_shown(browser: Browser, page: Path) -> None:
    session = browser.show(page, width=1024)

    def name() -> str:
        return str(browser.value(session, f"{SHOWN}.dataset.name"))

    def choose(selector: str, value: str) -> None:
        script = f"(s => {{ s.value = '{value}'; s.dispatchEvent(new Event('input', {{bubbles: true}})); }})"
        browser.value(session, f"{script}(document.querySelector('{selector}'))")

    def count() -> str:
        return str(browser.value(session, "document.querySelector('.controls output').textContent"))

    assert name() == "MPX1000" and count() == "1 of 30"
    browser.press(session, "j")
    browser.press(session, "j")
    assert name() == "MPX1002"
    assert findings_tables.HOSTILE in browser.value(session, f"{SHOWN}.textContent")
    browser.press(session, "k")
    assert name() == "MPX1001" and count() == "2 of 30"
    choose("[data-filter=region]", "spine")
    assert name() == "MPX1003" and count() == "1 of 6 that match, of 30"
    browser.value(session, "document.querySelector('[data-search]').focus()")
    browser.press(session, "j")  # typed, no move
    assert browser.value(session, "document.querySelector('[data-search]').value") == "j"
    choose("[data-search]", "mpx1008")
    assert name() == "MPX1008" and count() == "1 of 1 that match, of 30"
    choose("[data-search]", "")
    choose("[data-filter=region]", "")
    choose('[data-side="0"]', "2")
    heads = f"[...{SHOWN}.querySelectorAll('.answer:not([hidden]) h4')].map(e => e.textContent)"
    assert set(browser.value(session, heads)) == {"Tuned", "Tiny base, reworded prompt"}
    choose("[data-filter=rating]", "poor")
    browser.value(session, "document.querySelector('[data-differ]').click()")
    tags = f"[...{SHOWN}.querySelectorAll('.answer:not([hidden])')].map(e => [e.style.order, e.dataset.tags])"
    left = dict(browser.value(session, tags))["0"]
    assert '"poor"' in left
    choose("[data-search]", "no such words anywhere")
    assert count() == "no case matches"
    browser.press(session, "j")
    assert not browser.complaints()


@pytest.mark.slow
def test_on_paper_there_are_no_controls_and_nothing_is_cut(browser: Browser, page: Path) -> None:
    session = browser.show(page, width=1024)
    browser.ask("Emulation.setEmulatedMedia", session, media="print")
    assert browser.value(session, "getComputedStyle(document.querySelector('.controls')).display") == "none"
    assert browser.value(session, f"getComputedStyle({SHOWN}.querySelector('.said')).maxHeight") == "none"
