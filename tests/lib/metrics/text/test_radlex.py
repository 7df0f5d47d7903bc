"""Claims about stages.lib.metrics.text.radlex. The ids are invented: nothing of RadLex is in the repository."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core.errors import VocabularyError
from stages.lib.metrics.text import radlex, vocabulary

TABLE = (
    "Class ID,Preferred Label,Synonyms,Obsolete\r\n"
    'http://example.org/RID/RID9001,Pleural  Effusion,"fluid, pleural|hydrothorax",false\r\n'
    "RID9002,mass,,false\r\n"
    "RID9003,neoplasm,tumor|mass,false\r\n"
    "RID9004,kidney,ren,false\r\n"
)


def test_names_and_synonyms_have_the_id_of_their_row_and_a_name_goes_before_a_synonym(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(TABLE.encode())
    found = radlex.read(path)
    assert found["pleural effusion"] == found["hydrothorax"] == found["fluid , pleural"] == "RID9001"
    assert found["mass"] == "RID9002"
    assert found["tumor"] == "RID9003"


def test_a_user_s_vocabulary_names_the_table_beside_it(tmp_path):
    (tmp_path / "table.tsv").write_text("RID\tName\nRID9002\tmass\nRID9004\tkidney\n", encoding="utf-8-sig")
    (tmp_path / "mine.yaml").write_text("licence: mine\nradlex: table.tsv\n")
    assert vocabulary.load(str(tmp_path / "mine.yaml")).radlex == {"NF:mass": "RID9002", "NP:kidney": "RID9004"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column of id"),
        ("id,title\nRID1,mass\n", "no column of name: found id, title"),
        ("id,name\nRID1,mass\nmass,RID2\n7,x\n", "line 3: found the id 'mass'"),
    ],
)
def test_a_table_that_is_none_is_refused_with_its_lines(tmp_path, text, words):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(VocabularyError, match=words):
        radlex.read(path)


def test_a_missing_table_and_one_of_another_encoding_are_named(tmp_path):
    with pytest.raises(VocabularyError, match="cannot be read"):
        radlex.read(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"id,name\nRID1,\xe9\n")
    with pytest.raises(VocabularyError, match="UTF-8"):
        radlex.read(tmp_path / "latin.csv")


@given(st.text())
def test_any_table_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("radlex") / "table.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(VocabularyError):
        assert "" not in radlex.read(path)
