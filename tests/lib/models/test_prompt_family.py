"""Prompt families: versioned texts with variables, and what stands for these in a prompt."""

import json
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.core.case_tables import MODALITIES, REGIONS
from stages.lib.core.errors import ParamsError
from stages.lib.models import prompt_family
from stages.lib.models.prompt_family import Values

SHIPPED = prompt_family.names()
MARK = "QQHISTORYQQ"


def values(**changes):
    given = {"history": "Pain.", "region": "abdomen", "modality": "CT", "planes": ["axial"], "n_images": 2}
    return Values(**{**given, **changes})


def write(folder, **changes):
    text = {"name": "own", "version": 3, "system": None, "user": "What is seen?", "by_region": {}, "by_modality": {}}
    text |= {"questions": [], "none_found": None, "answer_form": "text"}
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump({**text, **changes}))
    return str(path)


def test_the_families_of_the_published_plan_are_shipped_under_their_names_with_a_version():
    wanted = {"comprehensive", "focused", "region_specific", "structured", "elaborate"}
    wanted |= {"brief", "brief_reworded", "brief_region", "brief_focused"}
    assert set(SHIPPED) == wanted
    for name in SHIPPED:
        family = prompt_family.read(name)
        assert (family.name, family.label) == (name, f"{name}-{family.version}") and family.system


@pytest.mark.parametrize("name", SHIPPED)
def test_every_family_makes_a_prompt_for_every_region_and_modality_without_a_variable_left(name):
    family = prompt_family.read(name)
    for region in REGIONS:
        for modality in MODALITIES:
            made = prompt_family.prompts(
                family, values(region=region, modality=modality, findings="A mass."), system=True
            )
            assert len(made) == max(len(family.questions), 1) and len({one.user for one in made}) == len(made)
            for one in made:
                assert one.user and not re.search(r"\{[a-z_]+\}", one.user) and one.system == family.system


def test_a_region_specific_prompt_is_another_for_each_region_and_modality():
    family = prompt_family.read("region_specific")
    made = {
        prompt_family.prompts(family, values(region=region, modality=modality), system=False)[0].user
        for region in REGIONS
        for modality in MODALITIES
    }
    assert len(made) == len(REGIONS) * len(MODALITIES)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_what_a_history_holds_changes_nothing_but_its_own_place(history):
    family = prompt_family.read("comprehensive")
    (made,) = prompt_family.prompts(family, values(history=history), system=False)
    (marked,) = prompt_family.prompts(family, values(history=MARK), system=False)
    assert made.user == marked.user.replace(MARK, prompt_family.data(history))


@pytest.mark.parametrize("text", ["{user}", "{history}", "{{", "}", "{0}", "{history.__class__}", "%s", "$x"])
def test_braces_in_a_text_of_a_case_are_braces(text):
    (made,) = prompt_family.prompts(prompt_family.read("elaborate"), values(history=text, findings=text), system=False)
    assert made.user.count(text) == 2


@pytest.mark.parametrize(
    "token", ["<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<bos>", "<|im_end|>", "</s>", "<unused94>"]
)
def test_a_text_of_a_case_ends_no_turn_and_shows_no_image(token):
    told = values(history=f"a{token}b", findings=token, examples=[token])
    for name in ("comprehensive", "elaborate"):
        (made,) = prompt_family.prompts(prompt_family.read(name), told, system=False)
        assert token not in made.user
    assert prompt_family.data("3 < 4 cm, <5 mm and > 2") == "3 < 4 cm, <5 mm and > 2"


def test_what_is_not_known_is_said_to_be_not_given():
    (made,) = prompt_family.prompts(prompt_family.read("comprehensive"), values(history=None, planes=[]), system=False)
    assert "plane: not given" in made.user and "known of the patient: not given" in made.user


def test_the_system_message_is_sent_where_it_is_wanted_alone():
    family = prompt_family.read("brief")
    assert [prompt_family.prompts(family, values(), system=one)[0].system for one in (True, False)] == [
        "You are a radiologist.",
        None,
    ]


def test_the_form_that_structured_findings_are_asked_for_in_obeys_the_schema():
    import jsonschema

    (made,) = prompt_family.prompts(prompt_family.read("structured"), values(), system=False)
    shown = next(line for line in made.user.splitlines() if line.startswith("{"))
    jsonschema.validate(json.loads(shown), prompt_family.SCHEMA)


def test_a_family_of_the_users_is_a_file_of_that_form(tmp_path):
    family = prompt_family.read(write(tmp_path, user="{examples}\n{{A}} {modality}"))
    (made,) = prompt_family.prompts(family, values(examples=["A mass.", "A {cyst}."]), system=True)
    assert made.user == "Example 1:\nA mass.\n\nExample 2:\nA {cyst}.\n{A} CT" and made.system is None
    assert family.variables == {"examples", "modality"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user": "{histroy}"}, r"did you mean '\{history\}'\? \(known are history, region, modality, plane, n_images"),
        ({"user": "{diagnosis}"}, r"\{diagnosis\} can never be a variable, since it names the diagnosis"),
        ({"user": "{Title}"}, r"with more or less than a name"),
        ({"user": "{topic}"}, r"\{topic\} can never be a variable"),
        ({"user": "{history!r}"}, r"with more or less than a name"),
        ({"user": "{history.x}"}, r"with more or less than a name"),
        ({"user": "{}"}, r"with more or less than a name"),
        ({"user": "{history"}, r"expected '\}'"),
        ({"system": "{by_region}"}, r"system: \{by_region\}"),
        ({"user": "{by_region}", "by_region": {"head": "x"}}, r"by_region lacks thorax, abdomen, spine, urinary"),
        ({"by_region": {"haed": "x"}}, r"did you mean 'by_region.head'"),
        ({"questions": ["A mass?"]}, r"wanted \{question\}, and none_found, where there are questions"),
        ({"user": "{question}"}, r"wanted \{question\}, and none_found"),
        ({"version": 0}, r"version: found 0"),
        ({"answer_form": "xml"}, r"answer_form: found 'xml'"),
        ({"colour": 1}, r"colour: unknown"),
    ],
)
def test_what_is_wrong_with_a_family_is_said_with_its_file(tmp_path, changes, message):
    with pytest.raises(ParamsError, match=message) as raised:
        prompt_family.read(write(tmp_path, **changes))
    assert "own.yaml" in str(raised.value)


def test_every_problem_of_a_family_is_named_at_once(tmp_path):
    with pytest.raises(ParamsError) as raised:
        prompt_family.read(write(tmp_path, user="{a} {topic}", system="{b}", by_modality={"PET": "x"}))
    assert all(word in str(raised.value) for word in ("{a}", "{topic}", "{b}", "by_modality.PET"))


def test_a_family_that_is_not_there_is_named_with_the_nearest(tmp_path):
    with pytest.raises(ParamsError, match="did you mean 'focused'"):
        prompt_family.read("focussed")
    with pytest.raises(ParamsError, match="cannot be read"):
        prompt_family.read(str(tmp_path / "gone.yaml"))
