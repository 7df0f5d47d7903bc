"""An arm behind an endpoint: a server of ours or another's that answers chat completions."""

from stages.lib.core import params as parameters
from stages.lib.models.arm import ArmParams, Setting
from stages.lib.models.chat.endpoint import Endpoint
from stages.lib.models.chat.endpoint_params import EndpointParams
from stages.lib.models.chat.request import Responder


@parameters.section
class Params(ArmParams, EndpointParams):
    """How a model behind an endpoint is asked about a case."""

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = []
        for part in (ArmParams, EndpointParams):
            try:
                part.__post_init__(self)
            except ValueError as error:
                problems.append(str(error))
        if self.images != "none" and self.max_images > self.takes_images:
            problems.append(f"max_images {self.max_images}, wanted at most takes_images {self.takes_images}")
        if problems:
            raise ValueError("; ".join(problems))


def responder(params: Params, setting: Setting) -> Responder:
    """The endpoint of a row."""
    return Endpoint(params)
