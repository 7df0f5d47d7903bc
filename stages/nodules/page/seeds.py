"""The part on seeds: what other splits and trainings say."""

from collections.abc import Iterator, Mapping

from stages.lib.metrics import catalog
from stages.lib.metrics.measures import Estimate, Key, Subject, headline_keys
from stages.lib.report.blocks import Block, Column, Fold, Note, Part, Row, Rows, Table
from stages.lib.report.numbers import label, number
from stages.nodules.page.study import Study

TASKS = {"classification": "Classifiers, test images", "localization": "Localizers, test images"}


def parts(study: Study) -> tuple[Part, ...]:
    """The part, if there are several seeds."""
    if not study.of_seeds:
        return ()
    return (Part(name="seeds", title="Do other seeds say the same?", short="Seeds", blocks=tuple(_blocks(study))),)


def _blocks(study: Study) -> Iterator[Block]:
    seeds = sorted(seed for seed in study.of_seeds if seed is not None)
    means = study.of_seeds.get(None, {})
    overlap = any(one.low is not None for found in means.values() for one in found.values())
    said = (
        f"Split and training were repeated with {len(seeds)} seeds ({', '.join(map(str, seeds))}). Every other number "
        "of this page is of the first run alone, with its interval over patients. Here are mean and standard deviation "
        "(SD) over the seeds; the difference is that of each seed's two classifiers on the same images. "
    )
    interval = (
        f"The {100 * study.settings.confidence:g} % interval is that of the mean, by the corrected resampled t-test of "
        "Nadeau and Bengio (2003): the splits share images, so its variance is SD² (1 / seeds + test images / training "
        "images), not SD² / seeds. It is an approximation, and wide with few seeds."
    )
    alike = "The test images are the same with each seed: SD is that of the training alone, and there is no interval."
    yield Note(text=(said + (interval if overlap else alike),))
    for task, title in TASKS.items():
        columns = list(_columns(study, task))
        if columns:
            yield _table(title, columns, means, f"seeds.{task}")
            inner = _each(columns, {seed: study.of_seeds[seed] for seed in seeds})
            yield Fold(title=f"{title}: each seed", blocks=(inner,))


def _columns(study: Study, task: str) -> Iterator[tuple[Column, Subject]]:
    """Systems of a task, and differences of two of them, with what is measured of each on the test split."""
    systems = study.classifiers if task == "classification" else study.localizers
    for system in systems.values():
        yield Column(title=system.label, look=system.look), Subject(task, system.name, "test")
    if task == "classification":
        for subject in study.measures:
            if subject.task == "comparison" and subject.subset == "test" and subject.other is not None:
                names = [study.classifiers[name].label for name in (subject.system, subject.other)]
                yield Column(title=" - ".join(names)), subject


Measured = Mapping[Subject, Mapping[Key, Estimate]]


def _keys(columns: list[tuple[Column, Subject]], found: Measured) -> list[Key]:
    """Headline metrics that some system has."""
    return [key for key in headline_keys().values() if any(key in found.get(subject, {}) for _, subject in columns)]


def _title(key: Key) -> str:
    return f"{label(key.metric)}, {catalog.at_label(key.at)}" if key.at else label(key.metric)


def _table(title: str, columns: list[tuple[Column, Subject]], means: Measured, name: str) -> Table:
    rows = tuple(
        Row(
            title=_title(key),
            key=key.text,
            cells=tuple(
                number(key, means.get(subject, {}).get(key), signed=subject.task == "comparison")
                for _, subject in columns
            ),
        )
        for key in _keys(columns, means)
    )
    return Table(
        name=name,
        columns=tuple(column for column, _ in columns),
        groups=(Rows(title=title, rows=rows),),
        style="measured",
    )


def _each(columns: list[tuple[Column, Subject]], of_seeds: Mapping[int, Measured]) -> Table:
    """A group per metric, with a row per seed."""
    first = next(iter(of_seeds.values()))
    groups = tuple(
        Rows(
            title=_title(key),
            rows=tuple(
                Row(
                    title=f"Seed {seed}",
                    cells=tuple(
                        number(key, found.get(subject, {}).get(key), signed=subject.task == "comparison")
                        for _, subject in columns
                    ),
                )
                for seed, found in of_seeds.items()
            ),
        )
        for key in _keys(columns, first)
    )
    return Table(columns=tuple(column for column, _ in columns), groups=groups, style="measured")
