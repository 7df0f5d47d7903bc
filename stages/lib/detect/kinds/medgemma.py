"""MedGemma as a localizer: generated text with boxes.

A localizer takes queries (a view of an image and a prompt) and yields responses with their detections.
"""

from collections.abc import Iterator, Sequence

from stages.lib.core import params
from stages.lib.detect import driver
from stages.lib.detect.detection import Query, Response, batches, boxed
from stages.lib.models import box_2d, gemma3, snapshot


@params.section
class Params:
    """What MedGemma is asked, and how."""

    prompts: tuple[params.Text, ...]  # the bank: each is put to images that choose, the best to all; answers are boxes
    image_first: bool  # whether the image stands before the prompt, or after it
    max_new_tokens: params.Count  # a response is cut there; a box takes about 45, reasoning before them hundreds
    batch_size: params.Count  # images per batch; changes the time, not the answers


def localizer(params: Params, setting: driver.Setting) -> driver.Localizer:
    """A localizer that prompts the base model for boxes in MedGemma's format.

    Raises:
        ParamsError: If no base model was given.
        ModelError: If the model cannot be loaded.
    """
    loaded = gemma3.load(snapshot.read(setting.path("base")).folder, setting.model)

    def ask(queries: Sequence[Query]) -> Iterator[Response]:
        for batch in batches(queries, params.batch_size):
            images = [query.pixels() for query in batch]
            prompt = batch[0].prompt
            made = gemma3.generate(loaded, images, prompt, params.max_new_tokens, image_first=params.image_first)
            yield from (read(one.text, cut=one.cut) for one in made)

    return ask


def read(text: str, *, cut: bool = False) -> Response:
    """An answer in MedGemma's format as detections; the point is the centre of the box.

    Args:
        text: The generated text.
        cut: Whether it ended at `max_new_tokens`.

    >>> read('[{"box_2d": [400, 300, 500, 350], "label": "nodule"}]').detections
    (Detection(u=0.325, v=0.45, box=(0.3, 0.4, 0.35, 0.5), confidence=None, phrase='nodule'),)
    """
    parsed = box_2d.parse(text, cut=cut)
    detections = tuple(boxed((box.x0, box.y0, box.x1, box.y1), box_2d.UNITS, box.label) for box in parsed.boxes)
    return Response(text, parsed.status, detections)
