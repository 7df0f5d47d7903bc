"""Claims about the page of the chapter lofi: what stands on it, and beside what."""

import json

import cv2
import lofi_vectors as fake
import numpy as np
import pytest

from stages.lib.core import documents, sentence_tables, tables
from stages.lib.images.geometry import Geometry
from stages.lib.report import page
from stages.lib.report.blocks import Gallery, Section, Table
from stages.lofi import measure, section
from stages.lofi.page.examples import boxes
from stages.lofi.page.study import Shown

NAMES = [f"i{number}" for number in range(12)]
BOX, ELSEWHERE = [10.0, 20.0, 50.0, 60.0], [60.0, 60.0, 90.0, 90.0]
MEASURE = {
    "draws": 40,
    "seed": 1,
    "confidence": 0.95,
    "ks": [1, 5, 10],
    "compared_encoders": [["lofi", "base"]],
    "iou": 0.5,
    "judged_by": "rodeo_localization",
    "size_edges": [0.1],
    "min_stratum_sentences": 1,
    "compared_grounders": [["tuned", "copied"]],
}
PARAMS = {
    "lofi": {
        "ingest": {"root": "elsewhere"},
        "section": {"image_px": 32, "queries": 3, "sentences": 2, "seed": 1},
        "measure": MEASURE,
        "encoders": {"lofi": {"label": "LoFi", "kind": "lofi"}, "base": {"label": "Its base", "kind": "siglip"}},
        "grounders": {"tuned": {"label": "Tuned", "kind": "tuned"}, "copied": {"label": "Copied", "kind": "copy"}},
    }
}


def ranks(rank):
    """Each image looks for its text and each text for its image; all have the same rank."""
    rows = [
        {
            "direction": direction,
            "image_id": name,
            "part": part,
            "patient_id": f"p{name}",
            "study_id": None,
            "rank": rank,
            "rank_lenient": rank,
            "tied": 0,
            "n_right": 1,
            "n_right_lenient": 1,
            "n_pool": len(NAMES),
            "found": [name, *[other for other in NAMES if other != name][:4]],
            "similarities": [0.9, 0.8, 0.7, 0.6, 0.5],
        }
        for direction, part in (("image_to_text", None), ("text_to_image", 0))
        for name in NAMES
    ]
    return tables.from_rows(rows, sentence_tables.RANKS)


def grounded(name, **boxes_of_seen):
    rows = [
        {
            "grounder": name,
            "seen": seen,
            "image_id": image,
            "number": 0,
            "response": "</script>[[1,2,3,4]]",
            "status": "ok" if box else "malformed",
            "problem": None if box else "no list",
            "boxes": [box] if box else [],
            "confidences": [],
            "shown": ["i1/0", "i2/0"],
        }
        for seen, box in boxes_of_seen.items()
        for image in NAMES
    ]
    return tables.from_rows(rows, sentence_tables.GROUNDED)


def normalized(folder):
    rows = []
    for number, name in enumerate(NAMES):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((16, 16), 20 * number, np.uint8))
        facts = {"low": 0.0, "high": 1.0, "scale": 0.16, "pad_x_px": 0, "pad_y_px": 0, "side_px": 16}
        rows.append({"image_id": name, "png": f"{name}.png", "preprocessing_hash": "p", **facts})
    return tables.from_rows(rows, tables.NORMALIZED)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Artifacts of a chapter of twelve test images, measured."""
    folder = tmp_path_factory.mktemp("lofi")
    pairs = fake.pairs(
        [
            {"image_id": name, "patient_id": f"p{name}", "split": "test", "text": f"Text of {name}.", "boxes": [BOX]}
            for name in NAMES
        ]
    )
    manifest = fake.manifest(
        [{"image_id": name, "patient_id": f"p{name}", "width_px": 100, "height_px": 100} for name in NAMES]
    )
    made = {
        "manifest": (manifest, tables.MANIFEST),
        "normalized": (normalized(folder), tables.NORMALIZED),
        "pairs": (pairs, sentence_tables.PAIRS),
        "ranks/lofi": (ranks(1), sentence_tables.RANKS),
        "ranks/base": (ranks(7), sentence_tables.RANKS),
        "grounded/tuned": (grounded("tuned", own=BOX, shuffled=ELSEWHERE, grey=None), sentence_tables.GROUNDED),
        "grounded/copied": (grounded("copied", own=BOX, shuffled=BOX, grey=BOX), sentence_tables.GROUNDED),
    }
    for name, (table, schema) in made.items():
        tables.write(folder / f"{name}.parquet", table, schema)
    return folder


def written(folder, **left_out):
    """The section of the chapter, without ranks or without grounded sentences."""
    many = {
        "ranks": [f"{folder}/ranks/{name}.parquet" for name in ("base", "lofi")],
        "grounded": [f"{folder}/grounded/{name}.parquet" for name in ("copied", "tuned")],
    }
    options = [word for name, paths in many.items() if name not in left_out for word in (f"--{name}", *paths)]
    empty = {"ranks": "compared_encoders", "grounded": "compared_grounders"}
    document = json.loads(json.dumps(PARAMS))
    document["lofi"]["measure"].update({empty[name]: [] for name in left_out})
    common = ["--params", json.dumps(document), "--pairs", f"{folder}/pairs.parquet"]
    common += ["--manifest", f"{folder}/manifest.parquet", *options]
    measured = [word for name in ("measures", "outcomes", "notes") for word in (f"--{name}", f"{folder}/{name}")]
    measure.main([*common, *measured])
    shown = ["--normalized", f"{folder}/normalized.parquet", "--measures", f"{folder}/measures"]
    section.main([*common, *shown, "--notes", f"{folder}/notes", "--results", str(folder), "--section", f"{folder}/s"])
    return documents.read(folder / "s", Section)


@pytest.fixture(scope="module")
def whole(folder):
    return written(folder)


def blocks_of(found, name, kind):
    part = next(part for part in found.parts if part.name == name)
    return [block for block in part.blocks if isinstance(block, kind)]


def text_of(sentence):
    return "".join(part if isinstance(part, str) else part.text for part in sentence)


def test_the_first_sentence_says_both_directions_beside_chance_and_who_looks_at_the_image(whole):
    said = text_of(whole.finding)
    assert "image to text: a right one among the first 10 for 1.000 of the queries (chance 0.833)" in said
    assert "text to image 1.000" in said
    assert "Tuned looks at the image; the other grounders have grounded nothing" in said


def test_each_encoder_stands_in_both_directions_with_chance_below(whole):
    first, second, compared = blocks_of(whole, "retrieval", Table)
    for table in (first, second):
        assert [row.title for row in table.groups[0].rows] == ["LoFi", "Its base", "Chance"]
    base = first.groups[0].rows[1]
    assert [cell.text for cell in base.cells[:3]] == ["0.000", "0.000", "1.000"]
    assert first.groups[0].rows[2].cells[0] == "0.083"
    assert compared.groups[0].rows[0].cells[0].text == "+1.000"


def test_each_grounder_stands_beside_its_blind_rows_and_what_is_between_them(whole):
    table = next(one for one in blocks_of(whole, "grounding", Table) if one.name == "grounding")
    titles = {group.title: [row.title for row in group.rows] for group in table.groups}
    blind = ["Another patient's image", "Grey image", "Own less another patient's image", "Own less grey image"]
    assert titles["Tuned"] == ["Own image", *blind]
    assert titles["Two grounders on the same sentences"] == ["Tuned less Copied"]
    assert table.columns[0].title.startswith("F1")
    values = {group.title: [row.cells[0].text for row in group.rows] for group in table.groups}
    assert values["Tuned"] == ["1.000", "0.000", "0.000", "+1.000", "+1.000"]
    assert values["Copied"][3:] == ["0.000", "0.000"]


def test_a_verdict_wants_all_blind_rows_beaten_by_the_metric_that_was_named_before(whole):
    table = blocks_of(whole, "grounding", Table)[0]
    assert (table.name, table.corner) == ("grounding.verdicts", "RoDeO localization, of 100")
    found = {row.title: row for row in table.groups[0].rows}
    assert [found[name].cells[-1] for name in ("Tuned", "Copied")] == ["looks at the image", "has grounded nothing"]
    assert found["Copied"].cells[0].text == "0.000"
    assert found["Tuned"].selected
    assert not found["Copied"].selected


def test_behind_a_number_queries_or_sentences_and_boxes_are_counted_and_no_images_or_nodules(whole):
    retrieved = blocks_of(whole, "retrieval", Table)[0].groups[0].rows[0].cells[0].note
    boxed = next(one for one in blocks_of(whole, "grounding", Table) if one.name == "grounding")
    assert retrieved.startswith("12 queries, 12 patients")
    note = boxed.groups[0].rows[0].cells[0].note
    assert note.startswith("12 sentences, 12 patients, 12 true boxes, 12 predicted boxes")


def test_answers_that_cannot_be_read_are_counted_for_each_image_that_was_shown(whole):
    table = next(one for one in blocks_of(whole, "grounding", Table) if one.name == "grounding.statuses")
    found = {row.title: row.cells for row in table.groups[0].rows}
    own, another, grey = [title for title in found if title.startswith("Tuned, ")]
    assert (own, grey) == ("Tuned, own image", "Tuned, grey image")
    assert another == "Tuned, another patient's image"
    assert found["Tuned, grey image"] == ("0", "0", "12", "100.0 %")
    assert found["Tuned, own image"] == ("12", "0", "0", "0.0 %")


def test_a_query_is_shown_with_what_it_found_and_its_own_image_marked_right(whole):
    (gallery,) = blocks_of(whole, "queries", Gallery)
    assert len(gallery.albums) == 3
    for album in gallery.albums:
        assert album.title.startswith("Text of ")
        own = album.title.removeprefix("Text of ").removesuffix(".")
        assert [card.name for card in album.cards if "right" in card.facts] == [own]
        assert len(album.cards) == 5


def test_a_sentence_is_shown_with_both_boxes_the_answer_verbatim_and_the_examples(whole):
    (card, *_) = blocks_of(whole, "boxes", Gallery)[0].albums[0].cards
    assert [mark.box for mark in card.marks] == [(10.0, 20.0, 40.0, 40.0)] * 2
    assert card.marks[0].look != card.marks[1].look
    quotes = {quote.title: quote.text for quote in card.quotes}
    assert quotes["answer (ok)"] == "</script>[[1,2,3,4]]"
    assert quotes["shown before"] == "i2/0: Text of i2."


def test_the_page_draws_the_section_and_runs_nothing_of_an_answer(whole):
    html = page.render("Title", [whole])
    assert "</script>[[1,2,3,4]]" not in html
    assert "&lt;/script&gt;[[1,2,3,4]]" in html


def test_edges_of_boxes_count_from_the_border_and_not_from_the_centre_of_the_first_pixel():
    image = Shown("a.png", Geometry(width_px=50, height_px=100, side_px=16))
    (whole_image,) = boxes([[0, 0, 50, 100]], image, 0, "all")
    assert whole_image.box == (25.0, 0.0, 50.0, 100.0)


@pytest.mark.parametrize(
    ("without", "kept"), [("ranks", {"grounding", "boxes"}), ("grounded", {"retrieval", "queries"})]
)
def test_a_page_of_retrieval_alone_or_grounding_alone_has_the_other_parts_alone(folder, without, kept):
    found = written(folder, **{without: True})
    names = {part.name for part in found.parts}
    assert names == {"not", "data", "provenance", *kept}
    assert text_of(found.finding)
