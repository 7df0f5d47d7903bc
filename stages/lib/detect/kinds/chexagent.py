"""CheXagent-2 as a localizer: boxes in generated text, from a process of its own. Non-commercial use only."""

from collections.abc import Iterator, Sequence

from stages.lib.detect import driver
from stages.lib.detect.chexagent import boxes
from stages.lib.detect.detection import Query, Response
from stages.lib.models.chexagent import client

Params = client.ChexagentParams


def localizer(params: Params, setting: driver.Setting) -> driver.Localizer:
    """A localizer that queries CheXagent-2 in a process of its own.

    Raises:
        ParamsError: If the files that this kind wants were not given.
        ModelError: If the model's record cannot be used.
        EnvironmentBuildError: If the environment's record cannot be used.
    """
    where = client.setting(setting.path("fetched"), setting.path("environment"))
    journals = setting.path("journals")

    def ask(queries: Sequence[Query]) -> Iterator[Response]:
        questions = [client.Question(query.key, query.pixels, query.prompt) for query in queries]
        return map(boxes.read, client.answer(questions, params, where, journals))

    return ask
