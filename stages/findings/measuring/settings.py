"""How the answers of the arms are measured."""

from stages.lib.core import params
from stages.lib.metrics.cohort import OpenFraction


@params.section
class MeasureParams:
    """How the answers of the arms are measured."""

    draws: params.Count  # resamples of cases for an interval, drawn within each stratum of the sample
    seed: params.Seed  # of the resamples
    confidence: OpenFraction  # of the intervals; a difference is tested at 1 - confidence
    primary_judge: params.Text  # row of findings.judges that decides; declared before the run
    comparisons: tuple[tuple[params.Text, params.Text], ...]  # pairs of arms: the first minus the second
    rouge_stemmer: bool  # whether ROUGE-L compares stems of words
    min_stratum_cases: params.Count  # cases below which a part of the sample has no measure
    vocabulary: params.Text  # file of a vocabulary of findings, added to our own; none
    power: OpenFraction  # probability of finding a difference as large as the one seen, for the cases needed
    max_power_cases: params.Count  # cases beyond which they are not counted
    human_ratings: params.Text  # CSV of ratings by people, see stages/findings/ratings_file.py; none

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = [
            f"comparisons: {one} compares an arm with itself" for one, other in self.comparisons if one == other
        ]
        pairs = [tuple(sorted(pair)) for pair in self.comparisons]
        problems += [f"comparisons: {list(pair)} twice" for pair in sorted({p for p in pairs if pairs.count(p) > 1})]
        if problems:
            raise ValueError("; ".join(problems))
