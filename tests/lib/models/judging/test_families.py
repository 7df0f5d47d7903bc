"""Claims about stages.lib.models.judging.families."""

import pytest

from stages.lib.models.judging import families


@pytest.mark.parametrize(
    ("judge", "words", "model", "common"),
    [
        ("gemini-2.5-pro", (), "gemini-2.5-flash", "Google"),
        ("gemini-2.5-pro", (), "google/medgemma-1.5-4b-it", "Google"),
        ("gpt-5-mini", (), "openai/gpt4o", "OpenAI"),
        ("qwen3-vl-8b", (), "Qwen/Qwen2.5-VL-7B", "Alibaba"),
        ("claude-sonnet", (), "medgemma-4b", None),
        ("our-judge", ("medgemma",), "google/medgemma-4b-it@main", "medgemma"),
        ("/models/base", (), "/models/other", None),
    ],
)
def test_relations_that_are_known_are_named(judge, words, model, common):
    assert families.related(judge, words, model) == common


@pytest.mark.parametrize(
    ("first", "second", "one"),
    [
        ("models/gemini-2.5-pro", "Gemini-2.5-Pro", True),
        ("results/tiny", "results/tiny@main", True),
        ("gemini-2.5-pro", "gemini-2.5-flash", False),
    ],
)
def test_one_model_is_known_under_the_names_that_servers_give_it(first, second, one):
    assert families.same(first, second) == one
