"""Parameters of asking that change no answer: whether a connection may be opened, and what may be spent.

They are `findings.client` of params.yaml, and reach a stage through an environment variable, not through its command:
another budget, or a replay, is no reason to run a rule again.
"""

import os
from dataclasses import replace
from typing import Literal

from stages.lib.core import params

VARIABLE = "NODULEFLOW_FINDINGS_CLIENT"
KEPT = "NODULEFLOW_FINDINGS_ANSWERS"  # kept: answers are taken from the ledger alone, whatever judges may ask
SHIPPED = "shipped"


@params.section
class ClientParams:
    """How the endpoints are used, whichever they are."""

    network: Literal["live", "replay"]  # replay: not one connection; what is not in the ledger is an error
    max_dollars: params.NonNegativeFloat  # that one run may spend, reserved before it is spent; 0.0: no limit
    max_requests: params.NonNegativeInt  # tries that one run may send to endpoints; 0: no limit
    prices: params.Text  # dated price table, a YAML file; shipped: stages/lib/models/chat/prices.yaml


UNLIMITED = ClientParams(network="live", max_dollars=0.0, max_requests=0, prices=SHIPPED)


def read() -> ClientParams:
    """Those of the environment, `UNLIMITED` without them.

    Raises:
        ParamsError: If they are not as wanted.
    """
    given = os.environ.get(VARIABLE)
    if given is None:
        return UNLIMITED
    document = {"findings": {"client": params.document(given)}}
    found: ClientParams = params.parse(document, {"findings.client": ClientParams}).client
    return found


def of_answers() -> ClientParams:
    """As `read`, for the answers of arms: a run that scores anew asks no model what it sees.

    Raises:
        ParamsError: As `read`.
    """
    found = read()
    return replace(found, network="replay") if os.environ.get(KEPT) == "kept" else found
