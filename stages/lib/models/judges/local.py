"""A judge in this process: a folder or a model of the hub, with or without an adapter."""

from stages.lib.core import params as parameters
from stages.lib.models.arm import Setting
from stages.lib.models.chat import local
from stages.lib.models.judge import JudgeParams


@parameters.section
class Params(JudgeParams, local.LocalParams):
    """A model in this process, and how it judges."""


def responder(params: Params, setting: Setting) -> local.Local:
    """The model of a row; it is loaded when it is first asked.

    Raises:
        ModelError: If its files are not there.
    """
    return local.responder(params, setting)
