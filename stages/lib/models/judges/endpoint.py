"""A judge behind an endpoint: a server of ours or another's that answers chat completions."""

from stages.lib.core import params as parameters
from stages.lib.models.arm import Setting
from stages.lib.models.chat.endpoint import Endpoint
from stages.lib.models.chat.endpoint_params import EndpointParams
from stages.lib.models.chat.request import Responder
from stages.lib.models.judge import JudgeParams


@parameters.section
class Params(JudgeParams, EndpointParams):
    """How a model behind an endpoint judges."""


def responder(params: Params, setting: Setting) -> Responder:
    """The endpoint of a row."""
    return Endpoint(params)
