"""The shipped base of the findings demo says the same in process and behind `transformers serve`."""

import base64
from pathlib import Path

import pytest
import real_server

from stages.lib.demo.bases import slices
from stages.lib.models import gemma3
from workflow import base_record, slices_quality

ROOT = Path(__file__).parents[2]
BASE = base_record.bases(ROOT)["slices"]
ASKED = (0, 2, 3)  # the general prompt, with a system message, with the text first


@pytest.mark.slow
def test_one_and_two_images_before_and_after_the_text_with_and_without_a_system_message(tmp_path: Path) -> None:
    import openai

    cases = slices_quality.drawn(ROOT)[::15]
    assert {len(case.images) for case in cases} == {1, 2}
    ways = [slices_quality.ways(BASE.params)[number] for number in ASKED]
    loaded = gemma3.load(ROOT / BASE.folder, slices.MODEL)
    (tmp_path / "server").mkdir()
    with real_server.serve(ROOT / BASE.folder, tmp_path / "server/log") as served:
        client = openai.OpenAI(base_url=served.url, api_key="none", max_retries=0, timeout=120)
        for way in ways:
            ours = slices_quality.answers(cases, way, loaded, tmp_path)
            for case, answer in zip(cases, ours, strict=True):
                shown = [slices_quality.picture(image.pixels, tmp_path).read_bytes() for image in case.images]
                urls = [f"data:image/png;base64,{base64.b64encode(one).decode()}" for one in shown]
                images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
                text = [{"type": "text", "text": way.prompt}]
                said = [{"role": "system", "content": way.system}] if way.system else []
                turn = {"role": "user", "content": images + text if way.image_first else text + images}
                reply = client.chat.completions.create(
                    model=served.model, messages=[*said, turn], temperature=0, max_tokens=slices_quality.MAX_TOKENS
                )
                assert reply.choices[0].message.content == answer, (way.label, answer)
