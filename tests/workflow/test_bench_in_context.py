"""What the bench counts of grounding in context is what the formulas by hand say."""

import pytest

from workflow import costs, stage_costs
from workflow.bench import grounding, in_context

TOWER = 2 * (27 * (4 * 1152**2 + 2 * 1152 * 4304) * 4096 + 27 * 2 * 4096**2 * 1152 + 588 * 1152 * 4096)
PROJECTOR = 2 * 1152 * 2560 * 256
TOKEN = 2 * 34 * 2560 * (2 * 8 * 256 + 2 * 4 * 256 + 3 * 10240)  # of the language model, without attention
WORDS = 2 * 2560 * 262208


def reading(tokens, behind):
    """Operations of reading some tokens, of which all that come before are seen too."""
    return TOKEN * behind + 2 * 34 * 2 * behind * tokens * 8 * 256 + WORDS


def test_operations_of_a_conversation_are_those_by_hand():
    tokens = 2 * in_context.EXAMPLE_TOKENS + in_context.LAST_TOKENS
    first = reading(tokens - in_context.QUESTION_TOKENS, tokens - in_context.QUESTION_TOKENS)
    question = reading(tokens, in_context.QUESTION_TOKENS)
    whole = in_context.SENTENCES * (3 * (TOWER + PROJECTOR) + first + question)
    kept = TOWER + PROJECTOR + in_context.SENTENCES * (first + question)
    shared = TOWER + PROJECTOR + first + in_context.SENTENCES * question
    found = in_context.bench((2,))
    assert found["in_context.k2"].value == pytest.approx(whole / 1e12, rel=0.01)
    assert found["in_context.k2_features_kept"].value == pytest.approx(kept / whole, rel=0.01)
    assert found["in_context.k2_beginning_shared"].value == pytest.approx(shared / whole, rel=0.01)


def test_the_bench_of_scoring_scores_every_sentence():
    [result] = grounding.bench(40, 20).values()
    assert "40 sentences, 20 draws, F1 0." in result.note
    assert result.value > 0


def test_the_estimate_of_lofis_map_is_its_tower_and_each_patch_alone_through_the_head():
    on = costs.gpu("A100")
    low, high, formula = stage_costs.lofi_map({"method": "head"}, ["There is a nodule."], {}, on)
    head = 2 * 1024 * (4 * 1152**2 + 2 * 1152 * 4304)
    slow, fast = costs.UTILISATION
    assert low == pytest.approx((0.980e12 + head) / (fast * on.flops), rel=0.01)
    assert high == pytest.approx(low * fast / slow)
    assert formula == "1.01 TFLOP, at 512 px"
