"""The neighbours that another retriever found, each list given to another case: what retrieval adds beside examples.

An arm with these examples has as many, from the same cases and with the same similarities, but none that was found for
the case.
"""

from collections.abc import Sequence

import numpy as np

from stages.lib.core import params
from stages.lib.core.errors import ParamsError
from stages.lib.models.retriever import Case, Neighbour, Retriever, RetrieverParams, Setting


@params.section
class Params(RetrieverParams):
    """Whose neighbours, and how they are dealt out anew."""

    of: params.Text  # row of findings.retrievers
    seed: params.Seed


def retriever(params: Params, setting: Setting) -> Retriever:
    """Deals out neighbours that were found by another.

    Raises:
        ParamsError: If they were not given.
    """
    found = setting.neighbours
    if found is None:
        raise ParamsError("--neighbours:", [f"found none, wanted what the retriever {params.of} found"])

    def find(queries: Sequence[Case], index: Sequence[Case]) -> dict[str, list[Neighbour]]:
        """Each query gets the list of the next one in a random cycle, so none keeps its own.

        A neighbour of the query's own group is left out.
        """
        group = {case.case_id: case.group for case in index}
        order = sorted(case.case_id for case in queries)
        if len(order) == 1:
            raise ParamsError("findings.retrievers:", ["found one case to shuffle neighbours of, wanted two or more"])
        drawn = [order[place] for place in np.random.default_rng(params.seed).permutation(len(order))]
        after = dict(zip(drawn, [*drawn[1:], *drawn[:1]], strict=True))
        return {
            case.case_id: [
                one for one in found.get(after[case.case_id], ()) if group.get(one.case_id) not in (None, case.group)
            ][: params.k]
            for case in queries
        }

    return find
