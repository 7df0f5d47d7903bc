"""What the base of LoFi is taught: examples as the pipeline sees them, facts of patches, talks, first weights."""

from pathlib import Path

import numpy as np
import pytest

from stages.lib.demo.lofi import models, opening, tower, writing
from stages.lib.demo.lofi.examples import GROUPS, Example, Told, examples
from stages.lib.models import box_text
from stages.lib.models.box_2d import UNITS, Box
from stages.lib.models.lofi.words import TowerWords, decoder_words
from workflow import base_record

ROOT = Path(__file__).parents[4]
PARAMS = base_record.bases(ROOT)["lofi"].params
GRID = 8


@pytest.fixture(scope="module")
def taught() -> list[Example]:
    return examples(np.random.default_rng(4), 12, PARAMS, (0.5, 99.5))


def test_an_example_is_as_large_as_the_tower_takes_and_tells_of_every_finding_in_its_report(
    taught: list[Example],
) -> None:
    for one in taught:
        assert one.pixels.shape == (112, 112) and one.pixels.dtype == np.uint8
        assert len(one.found) == sum(len(told.boxes) for told in one.report)
        assert {box.label for box in one.found} <= set(GROUPS)
        for box in one.found:
            assert 0 <= box.x0 < box.x1 <= UNITS and 0 <= box.y0 < box.y1 <= UNITS
        assert one.text.count(".") == len(one.report)


def test_a_nodule_is_a_fact_of_the_patch_of_its_centre_alone_and_a_larger_finding_of_every_patch_in_its_box() -> None:
    nodule, heart = Box(130, 130, 250, 250, "nodule"), Box(500, 250, 750, 1000, "heart")
    facts = tower.dense_facts([[nodule, heart], []], GRID).reshape(2, GRID, GRID, tower.FACTS)
    of_nodule, of_heart = facts[0, ..., 0], facts[0, ..., tower.OF_A_GROUP * GROUPS.index("heart")]
    assert np.argwhere(of_nodule).tolist() == [[1, 1]]
    assert np.argwhere(of_heart).tolist() == [[row, column] for row in (4, 5) for column in range(2, 8)]
    at = tower.OF_A_GROUP * GROUPS.index("heart") + 1
    assert facts[0, 4, 5, at : at + 4].tolist() == [0.0, -0.5, 0.5, 1.0]
    assert not facts[1, ..., :-2].any()
    assert facts[1, 0, :, -1].tolist() == facts[1, :, 0, -2].tolist() == [(2 * i + 1) / GRID - 1 for i in range(GRID)]


def test_a_fact_of_a_nodule_weighs_more_than_one_of_a_larger_finding() -> None:
    weights = tower.weights()
    assert weights.shape == (tower.FACTS,)
    assert weights[0] > weights[tower.OF_A_GROUP] > weights[-1] > 0


def test_every_word_of_the_reports_is_known_to_the_text_tower_and_costs_the_decoder_few_tokens(
    taught: list[Example], tmp_path: Path
) -> None:
    words = TowerWords(models.tower_tokenizer(), models.LENGTH)
    decoder = models.tiny.processor(models.LANGUAGE).tokenizer
    for one in taught:
        assert models.UNKNOWN not in words.ids(one.text)
        for told in one.report:
            spelled = decoder.encode(told.text, add_special_tokens=False)
            assert len(spelled) <= len(told.text.split()) + 5
            assert decoder.decode(spelled) == told.text


def test_the_text_tower_reads_lower_case_ends_each_text_and_pads_on_the_right() -> None:
    tokenizer = models.tower_tokenizer()
    large, small = (tokenizer(text)["input_ids"] for text in ("The HEART.", "the heart."))
    assert large == small and large[-1] == models.END
    assert tokenizer.padding_side == "right" and tokenizer.pad_token_id == models.PAD
    assert models.UNKNOWN in tokenizer("a kidney")["input_ids"]


def test_what_the_decoder_is_taught_about_boxes_can_be_read_back(taught: list[Example]) -> None:
    rng = np.random.default_rng(0)
    kinds = set()
    for repeat in range(40):
        coarse = repeat % 2 == 0
        for one in taught:
            prompt, answer = writing.talk(rng, one.report, coarse=coarse)
            kinds.add(prompt.split()[0])
            if prompt.startswith("Detect"):
                told = box_text.read(answer, "lofi")
                assert told.status == "ok"
                (sentence,) = [s for s in one.report if s.text.removesuffix(".") in prompt]
                wanted = sorted(writing.on_lattice(box) if coarse else box for box in sentence.boxes)
                assert np.abs(np.array(sorted(told.boxes)) - wanted).max() <= (0.05 if coarse else 0.0005) + 1e-6
            else:
                assert answer.endswith(".")
    assert kinds == {"Detect", "Describe"}


def test_a_report_without_boxes_is_told_as_a_whole() -> None:
    report = [Told("No pacemaker.", ()), Told("Heart size is normal.", ())]
    assert writing.talk(np.random.default_rng(0), report, coarse=True)[1] == "No pacemaker. Heart size is normal."


def test_only_the_answer_is_learned_to_its_end_of_turn(tmp_path: Path) -> None:
    models.tiny.processor(models.LANGUAGE).tokenizer.save_pretrained(tmp_path)
    words = decoder_words(tmp_path, 2048)
    ids, targets = writing.rows(words, [("Ask.", "A short answer."), ("Ask.", "No.")])
    for row, answer in enumerate(("A short answer.", "No.")):
        learned = targets[row][targets[row] >= 0].tolist()
        assert learned == words.answer(answer) and learned[-1] == words.end_of_turn
        at = np.flatnonzero(targets[row] >= 0)
        assert ids[row, at[0]] == words.asked("Ask.")[-1]
        assert ids[row, at[1:]].tolist() == learned[:-1]


def test_the_pooling_begins_by_telling_the_decoder_where_a_finding_is() -> None:
    """On tokens that are the facts themselves, the visual token of a group leads to that group's edges."""
    import torch
    from transformers import SiglipVisionConfig

    from stages.lib.models.lofi.pooling import Queries, projection

    rng = np.random.default_rng(1)
    edges = np.sort(rng.uniform(50, 950, (60, 2, 2)), axis=1)
    edges[:, 1] = np.maximum(edges[:, 1], edges[:, 0] + 200).clip(max=1000)
    found = [[Box(y0, x0, y1, x1, "opacity")] for (y0, x0), (y1, x1) in edges]
    facts = tower.dense_facts(found, GRID)
    mixed = torch.from_numpy(rng.normal(0, 1, (tower.FACTS, 64))).float()
    patches = torch.from_numpy(facts) @ mixed + 0.01 * torch.randn(60, GRID * GRID, 64, generator=_seeded())

    class Joined(torch.nn.Module):
        pass

    joined = Joined()
    joined.pooling = Queries(SiglipVisionConfig(hidden_size=64, num_attention_heads=2), opening.TOKENS)
    joined.projection = projection(64, 128)
    opening.open_pooling(joined, patches, facts, rng)
    with torch.no_grad():
        tokens = joined.projection(joined.pooling(patches))[:, GROUPS.index("opacity") - 1].double()  # (n, h)
    wanted = torch.from_numpy(np.array([[b.y0, b.x0, b.y1, b.x1] for (b,) in found])) / UNITS
    design = torch.cat([tokens, torch.ones(60, 1)], dim=1)
    told = design @ torch.linalg.pinv(design, rtol=1e-3) @ wanted
    assert (told - wanted).abs().mean() < 0.05 < (wanted - wanted.mean(dim=0)).abs().mean()


def _seeded():
    import torch

    return torch.Generator().manual_seed(0)


def test_a_pooling_with_too_few_visual_tokens_is_refused() -> None:
    import torch
    from transformers import SiglipVisionConfig

    from stages.lib.models.lofi.pooling import Queries

    reading = torch.zeros(64, tower.FACTS + opening.COLUMNS + opening.ROWS)
    pooling = Queries(SiglipVisionConfig(hidden_size=64, num_attention_heads=2), opening.TOKENS - 1)
    with pytest.raises(ValueError, match=f"found {opening.TOKENS - 1} visual tokens"):
        opening._attend(pooling, reading, torch.zeros(64))
