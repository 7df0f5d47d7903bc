"""The boxes of the nearest example, without any language model: who does not beat it has shown nothing.

Of the k examples of the nearest training images the one with the most equal words is copied, its boxes as fractions of
the padded square. With a grey image nothing is near, and the examples are drawn at random.
"""

from collections.abc import Iterator, Sequence

from stages.lib.core import params
from stages.lib.core.errors import DataError
from stages.lib.detect import demonstrations
from stages.lib.detect.grounder import Answered, Asked, Grounder, Setting, like, wanted


@params.section
class Params:
    """Whose neighbours, and how many examples of them."""

    encoder: params.Text  # row of lofi.encoders: its neighbours are the nearest images
    k: params.Count  # nearest examples of which the one with the most equal words is copied; 1: the nearest, unread
    seed: params.Seed  # of the examples for a grey image


def grounder(params: Params, setting: Setting) -> Grounder:
    """A grounder that copies.

    Raises:
        ParamsError: If no neighbours were given.
        DataError: If the pool has no example.
    """
    neighbours = wanted("neighbours", setting.neighbours)
    pool = setting.pool
    if not pool.by_image:
        raise DataError("pairs:", ["found no training image with boxes, wanted at least one to copy from"])

    def ask(asked: Sequence[Asked]) -> Iterator[Answered]:
        for one in asked:
            near = demonstrations.nearest(pool, like(one, neighbours), params.k)
            near = near or demonstrations.drawn(_others(setting, one), params.k, params.seed, one.image_id)
            if not near:
                yield Answered("empty", None, ())
                continue
            example = demonstrations.by_words(near, one.text)
            yield Answered("ok", None, example.boxes, shown=(example.name,))

    return ask


def _others(setting: Setting, asked: Asked) -> list[demonstrations.Example]:
    patients, images = (asked.patient_id, asked.shown_patient_id), (asked.image_id, asked.shown_id)
    return [one for one in setting.pool.examples if setting.pool.may_be_shown(one, patients, images)]
