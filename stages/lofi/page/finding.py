"""The first sentence of the page, what a reader has to know before it, and the numbers to remember."""

from collections.abc import Iterator

from stages.lib.metrics.measures import Key
from stages.lib.report.blocks import Number, Sentence, Tile
from stages.lib.report.numbers import decimal, label, number
from stages.lofi.page.study import DIRECTIONS, GROUNDING, NOUNS, RETRIEVAL, TEST, Study

AT = "10"  # K of the first sentence
RECALL, CHANCE = Key("recall_at_k", AT), Key("chance_at_k", AT)
LOCALIZATION = Key("rodeo_localization")


def warnings(study: Study) -> tuple[str, ...]:
    """What a reader has to know before any number."""
    more = []
    if study.simulated:
        more.append(
            "The images and reports are drawn, and every number here with them: this page shows that the chapter "
            "works, and nothing about any patient."
        )
    verdicts = {one.sentence for one in study.notes.blind}  # they stand with the grounders
    return (*(sentence for sentence in study.notes.warnings if sentence not in verdicts), *more)


def sentence(study: Study) -> Sentence:
    """The answer: how often the first encoder finds what belongs together, against chance, and who grounds anything."""
    return tuple(part for part in (*_retrieval(study), *_grounding(study)) if part != "")


def _retrieval(study: Study) -> Iterator[str | Number]:
    encoder = study.first
    if encoder is None:
        return
    told = 0
    for direction, title in DIRECTIONS.items():
        found = study.retrieval(encoder.name, f"{TEST}/{direction}")
        if RECALL not in found:
            continue
        yield f"{encoder.label}, {title.lower()}: a right one among the first {AT} for " if not told else "; "
        yield f"{title.lower()} " if told else ""
        yield number(RECALL, found[RECALL], nouns=NOUNS[RETRIEVAL])
        chance = found.get(CHANCE)
        yield f" of the queries (chance {decimal(chance.value)})" if chance and chance.value is not None else ""
        told += 1
    yield ". " if told else ""


def _grounding(study: Study) -> Iterator[str]:
    verdicts = study.notes.blind
    if not study.grounders:
        return
    beaten = [one.grounder for one in verdicts if not one.grounds]
    names = list(study.grounders)
    judged = {one.grounder for one in verdicts} - {*beaten}
    look = [study.grounders[name].label for name in names if name in judged]
    if look:
        yield f"By the paired interval against the same sentences on other images, {', '.join(look)} "
        yield ("looks" if len(look) == 1 else "look") + " at the image"
        yield "; the other grounders have grounded nothing." if len(look) < len(names) else "."
    else:
        yield "No grounder beats the same sentences on other images: nothing was grounded."


def tiles(study: Study) -> tuple[Tile, ...]:
    """The numbers to remember: R@10 both ways of the first encoder, and the best localization of a grounder."""
    made = []
    encoder = study.first
    for direction, title in DIRECTIONS.items() if encoder else ():
        found = study.retrieval(encoder.name if encoder else "", f"{TEST}/{direction}")
        if RECALL in found:
            chance = found.get(CHANCE)
            more = f"chance {decimal(chance.value)}" if chance and chance.value is not None else ""
            made.append(
                Tile(
                    title=f"R@{AT}, {title.lower()}",
                    number=number(RECALL, found[RECALL], nouns=NOUNS[RETRIEVAL]),
                    more=more,
                )
            )
    grounders = [(study.grounding(name).get(LOCALIZATION), one) for name, one in study.grounders.items()]
    known = [(found, one) for found, one in grounders if found is not None and found.value is not None]
    if known:
        best, grounder = max(known, key=lambda pair: (pair[0].value or 0.0, pair[1].name))
        title = f"{label('rodeo_localization')}, {grounder.label}"
        made.append(Tile(title=title, number=number(LOCALIZATION, best, nouns=NOUNS[GROUNDING])))
    return tuple(made)
