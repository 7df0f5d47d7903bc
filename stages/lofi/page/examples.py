"""The parts with images: queries with what they found, and sentences with true and predicted boxes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stages.lib.report import gallery
from stages.lib.report.blocks import Album, Block, Card, Gallery, Heading, Key, Keys, Mark, Note, Part, Quote
from stages.lib.report.systems import System
from stages.lofi.page.study import SEEN, Pixels, Shown, Study

FOUND = 5  # images that are shown of what a query found
TRUE_BOX = "box of the first reader"


def queries(study: Study, pixels: Pixels, *, most: int, image_px: int, seed: int) -> Part:
    """Queries of the first encoder, drawn by seed, with the images and sentences that they found.

    Args:
        study: What the page is made of.
        pixels: See `Pixels`.
        most: Queries that are shown.
        image_px: Width and height of an image on the page.
        seed: Of the draw: the page shows no chosen ones.
    """
    encoder = study.first
    rows = [] if encoder is None else study.ranks[encoder.name].to_pylist()
    texts = [row for row in rows if row["direction"] == "text_to_image" and row["image_id"] in study.images]
    drawn = np.random.default_rng(seed).permutation(len(texts))[:most]
    albums = [_album(study, texts[place], pixels, image_px) for place in sorted(drawn.tolist())]
    label = encoder.label if encoder else ""
    note = (
        f"{len(albums)} of {len(texts):,} parts of reports, drawn by seed, with the images that {label} finds for "
        "each, the most similar first. Below each image its own part that is nearest to what was looked for."
    )
    return Part(
        name="queries",
        title="What is found",
        short="Found",
        blocks=(Note(text=(note,)), Gallery(albums=tuple(albums))),
    )


def _album(study: Study, row: Mapping[str, Any], pixels: Pixels, image_px: int) -> Album:
    wanted, part = row["image_id"], row["part"]
    cards = []
    for place, (name, similarity) in enumerate(zip(row["found"][:FOUND], row["similarities"][:FOUND], strict=True)):
        image = study.images.get(name)
        if image is None:
            continue
        facts = [f"{place + 1}.", f"cosine {similarity:.3f}"]
        facts += ["right" if name == wanted else "wrong"]
        text = study.parts.get((name, part)) or study.parts.get((name, 0), "")
        cards.append(
            Card(
                name=name,
                image=gallery.embed(pixels(image.png), image_px),
                facts=tuple(facts),
                quotes=(Quote(title="its report", text=text),),
            )
        )
    rule = f"part {part} of the report of {wanted}; its own image is number {row['rank']:,} of {row['n_pool']:,}"
    return Album(title=study.parts.get((wanted, part), wanted), rule=rule, total=row["n_pool"], cards=tuple(cards))


def grounded(study: Study, pixels: Pixels, *, most: int, image_px: int, seed: int) -> Part:
    """Sentences of each grounder, drawn by seed, with true and predicted boxes and the answer as it was written."""
    truth = len(study.encoders) + len(study.grounders)
    keys = [Key(title=TRUE_BOX, look=truth)]
    keys += [Key(title=f"box of {one.label}", look=one.look) for one in study.grounders.values()]
    blocks: list[Block] = [
        Note(text=("Drawn by seed among the sentences that were asked with their own image: no chosen ones.",)),
        Keys(keys=tuple(keys)),
    ]
    for one in study.grounders.values():
        blocks += _of_grounder(study, one, truth, pixels, most=most, image_px=image_px, seed=seed)
    return Part(name="boxes", title="Boxes of sentences", short="Boxes", blocks=tuple(blocks))


def _of_grounder(
    study: Study, one: System, truth: int, pixels: Pixels, *, most: int, image_px: int, seed: int
) -> Iterator[Block]:
    rows = [row for row in study.grounded[one.name].to_pylist() if row["seen"] == "own"]
    rows = [row for row in rows if row["image_id"] in study.images]
    drawn = np.random.default_rng(seed).permutation(len(rows))[:most]
    cards = [_card(study, rows[place], one, truth, pixels, image_px) for place in sorted(drawn.tolist())]
    yield Heading(title=one.label)
    rule = f"asked with its {SEEN['own']}"
    yield Gallery(albums=(Album(title="Sentences", rule=rule, total=len(rows), cards=tuple(cards)),))


def _card(study: Study, row: Mapping[str, Any], one: System, truth: int, pixels: Pixels, image_px: int) -> Card:
    image, pair = study.images[row["image_id"]], study.sentences[row["image_id"], row["number"]]
    marks = [
        *boxes(pair["boxes"], image, truth, TRUE_BOX),
        *boxes(row["boxes"], image, one.look, f"box of {one.label}"),
    ]
    quotes = [Quote(title="sentence", text=pair["text"])]
    if row["response"] is not None:
        quotes.append(Quote(title=f"answer ({row['status']})", text=row["response"]))
    quotes += [Quote(title="shown before", text=text) for text in _shown(study, row["shown"])]
    facts = [f"sentence {row['number']}", row["status"]]
    return Card(
        name=row["image_id"],
        image=gallery.embed(pixels(image.png), image_px),
        marks=tuple(marks),
        facts=tuple(facts),
        quotes=tuple(quotes),
    )


def _shown(study: Study, names: Sequence[str]) -> list[str]:
    """Examples that stood in the prompt, as text; long lists are cut with their number."""
    told = []
    for name in names[:FOUND]:
        image_id, _, number = name.rpartition("/")
        pair = study.sentences.get((image_id, int(number))) if number.isdecimal() else None
        told.append(f"{name}: {pair['text']}" if pair else name)
    return [*told, f"and {len(names) - FOUND} more"] if len(names) > FOUND else told


def boxes(found: Sequence[Sequence[float]], image: Shown, look: int, title: str) -> tuple[Mark, ...]:
    """Boxes in pixels of the original, edges of the grid, as marks on the padded square, in per cent.

    >>> from stages.lib.images.geometry import Geometry
    >>> image = Shown("a.png", Geometry(width_px=100, height_px=50, side_px=10))
    >>> boxes([[0, 0, 100, 50]], image, 1, "all")[0].box
    (0.0, 25.0, 100.0, 50.0)
    """
    made = []
    for x0, y0, x1, y1 in found:
        # an edge at 0 is the border of the first pixel, whose centre is 0 to the geometry
        left, top = (round(100 * value, 2) for value in image.geometry.to_unit(x0 - 0.5, y0 - 0.5))
        right, bottom = (round(100 * value, 2) for value in image.geometry.to_unit(x1 - 0.5, y1 - 0.5))
        box = (left, top, round(right - left, 2), round(bottom - top, 2))
        middle = (round((left + right) / 2, 2), round((top + bottom) / 2, 2))
        told = f"{title}: {x0:.0f}, {y0:.0f} to {x1:.0f}, {y1:.0f} px of the original"
        made.append(Mark(x=middle[0], y=middle[1], look=look, title=told, box=box))
    return tuple(made)
