"""What a run of the findings benchmark hands to its jobs by the environment.

How requests travel decides no answer, so it is no parameter of a rule: another budget, price table or network mode is
no reason to run one again. All jobs of a run share one budget.
"""

import json
import os
import uuid
from collections.abc import Mapping
from typing import Any

from stages.lib.models.chat import budget, client_params


def hand_over(client: Mapping[str, Any], *, kept: bool) -> None:
    """Set the environment of the jobs of this run; a job that reads the rules again keeps what its run has set.

    Args:
        client: The section findings.client.
        kept: Whether answers are taken from the ledger alone.
    """
    os.environ[client_params.VARIABLE] = json.dumps(client)
    os.environ.setdefault(budget.VARIABLE, uuid.uuid4().hex)
    if kept:
        os.environ[client_params.KEPT] = "kept"
