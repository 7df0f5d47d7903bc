"""Cases with alike histories: cosine of the words' tf-idf weights.

A case that is asked about has no findings yet, so its history is all the text that may be compared. The weights are
those of the index's histories alone. A case without a history finds none, and is found by none.

Source: Salton and Buckley (1988); scikit-learn's TfidfVectorizer with its smooth inverse document
frequency, and its words of two letters or more.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.lib.core import params
from stages.lib.models.retriever import Case, Neighbour, Retriever, RetrieverParams, Setting, nearest


@params.section
class Params(RetrieverParams):
    """How texts are compared."""

    max_ngram: params.Count  # words in a row that count as one term, up to this number


def retriever(params: Params, setting: Setting) -> Retriever:
    """Finds cases by their histories; it needs nothing of the setting."""

    def find(queries: Sequence[Case], index: Sequence[Case]) -> dict[str, list[Neighbour]]:
        from sklearn.feature_extraction.text import TfidfVectorizer

        terms: Any = TfidfVectorizer(ngram_range=(1, params.max_ngram), sublinear_tf=True, strip_accents="unicode")
        try:
            of_index = terms.fit_transform([case.history or "" for case in index]).toarray()
        except ValueError:  # not one word in the index
            return {case.case_id: [] for case in queries}
        histories = [case.history or "" for case in queries]
        of_queries = terms.transform(histories).toarray() if histories else np.zeros((0, of_index.shape[1]))
        return nearest(queries, index, of_queries, of_index, params.k)

    return find
