"""LoRA on gold texts: what is taught, that it is learned, and what an adapter is bound to."""

import json

import pytest
import torch
from checkout import ROOT
from tiny_cases import arm, write_cases

from stages.findings import train
from stages.findings.answer import main as answer_main
from stages.lib.core import documents, files, params, tables
from stages.lib.core.case_tables import ANSWERS, SAMPLE
from stages.lib.core.errors import MismatchError, ParamsError
from stages.lib.core.params import parse
from stages.lib.learn.losses import IGNORED
from stages.lib.learn.text_log import TextLog
from stages.lib.learn.texts import TextParams, TextTask, Told
from stages.lib.models import adapters
from stages.lib.models.arms import local
from stages.lib.models.chat.request import Message, Request, Sampling, Text
from stages.lib.models.snapshot import Snapshot

TRAIN = {
    "arm": "base",
    "clean_gold": False,
    "lora_r": 8,
    "lora_alpha": 64.0,
    "lora_dropout": 0.0,
    "lora_target_modules": "language",
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "learning_rate": 0.005,
    "warmup_ratio": 0.1,
    "max_steps": 20,
    "max_grad_norm": 1.0,
    "weight_decay": 0.0,
    "gradient_checkpointing": False,
    "eval_steps": 10,
    "save_steps": 10,
    "select_by": "last",
    "patience": 0,
    "save_total_limit": 2,
    "dataloader_num_workers": 0,
    "seed": 1,
}
GOLDS = ("[]", '[{"label": "nodule"}]')  # what the chest base can be taught in a few steps
ROLES = ("test", "test", "train", "train", "train", "train", "val", "val")


def options(cases, out, rows, **changes):
    sections = {"findings": {"train": {**TRAIN, **changes}, "arms": rows}}
    named = {"params": json.dumps(sections), "base": cases.folder / "fetched.json"}
    named |= {"sample": cases.folder / "sample.parquet", "case-images": cases.folder / "case_images.parquet"}
    named |= {"checkpoints": out / "checkpoints", "adapter": out / "adapter", "log": out / "train.json"}
    named |= {"curve": out / "curve.csv"}
    return [text for name, value in named.items() for text in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """Cases, and the folder of an adapter that was taught their gold texts on the demo's base of chest images."""
    folder = tmp_path_factory.mktemp("taught")
    cases = write_cases(folder / "cases", ROLES, GOLDS)
    base = ROOT / "workflow/demo_base"
    digest = files.sha256_file(base / "model.safetensors")
    record = Snapshot(base="chest", revision="none", commit=None, folder=base, sha256=digest, files={})
    documents.write(cases.folder / "fetched.json", record)
    train.main(options(cases, folder, {"base": arm(max_tokens=24)}))
    return cases, folder


def answers(cases, out, row, monkeypatch, **more):
    monkeypatch.setenv("NODULEFLOW_LEDGER", str(out / "ledger"))
    answer_main(cases.options(out, {"one": row}, "one", fetched=cases.folder / "fetched.json", **more))
    return tables.read(out / "one.parquet", ANSWERS).to_pylist()


def test_the_tuned_arm_writes_gold_texts_about_cases_that_it_was_not_taught_and_its_base_does_not(
    taught, tmp_path, monkeypatch
):
    cases, folder = taught
    log = documents.read(folder / "train.json", TextLog)
    assert (log.cases, log.validation_cases, log.steps, log.arm) == (4, 2, 20, "base")
    assert log.loss_last < 0.1 * log.loss_first and len([one.loss for one in log.checkpoints]) == 2
    base = answers(cases, tmp_path, arm(max_tokens=24), monkeypatch)
    tuned = answers(cases, tmp_path, arm(max_tokens=24, adapter="here"), monkeypatch, adapter=folder / "adapter")
    assert not {row["text"] for row in base} & set(GOLDS)
    assert {row["text"] for row in tuned} <= set(GOLDS) and {row["finish_reason"] for row in tuned} == {"stop"}
    assert {row["item"] for row in tuned} == {"MPX0000", "MPX0001"}


def test_an_adapter_is_bound_to_its_pixels_and_says_what_it_was_taught_to_be_asked(
    taught, tmp_path, monkeypatch, caplog
):
    cases, folder = taught
    card = documents.read(folder / "adapter/noduleflow.json", adapters.Card)
    assert card.prompt["family"] == "brief-1" and card.training_odds is None
    with pytest.raises(MismatchError, match="preprocessing hash"):
        answers(cases, tmp_path, arm(pixels="grey", adapter="x"), monkeypatch, adapter=folder / "adapter")
    caplog.set_level("WARNING")
    row = arm(prompt="brief_reworded", adapter="x")
    answers(cases, tmp_path, row, monkeypatch, adapter=folder / "adapter")
    assert "family 'brief-1', now 'brief_reworded-1'" in caplog.text


def test_an_interrupted_training_goes_on_to_the_same_adapter(taught, tmp_path, tiny_base, monkeypatch):
    cases, folder = taught
    from stages.lib.learn import loop

    real, steps = loop._step, []

    def stop_after_10(*given):
        row = real(*given)
        steps.append(row.step)
        if steps == list(range(1, 11)):
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)
        return row

    monkeypatch.setattr(loop, "_step", stop_after_10)
    with pytest.raises(SystemExit) as stopped:
        train.main(options(cases, tmp_path, {"base": arm(max_tokens=24)}))
    assert stopped.value.code == train.GO_ON and steps[-1] == 10
    train.main(options(cases, tmp_path, {"base": arm(max_tokens=24)}))
    assert steps == list(range(1, 21))
    assert (tmp_path / "adapter/adapter_model.safetensors").read_bytes() == (
        folder / "adapter/adapter_model.safetensors"
    ).read_bytes()


def conversation(text, gold):
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=8, seed=1)
    return Told(Request("MPX1", "tiny", "none", (Message("user", (Text(text),)),), sampling), gold)


def test_a_batch_has_the_loss_of_its_texts_one_by_one_whatever_is_padded(tiny_base):
    told = [
        conversation("Is there a nodule?", "Yes"),
        conversation("Find each nodule in the image.", "There is no nodule"),
    ]
    given = {name: value for name, value in TRAIN.items() if name not in ("arm", "clean_gold")}
    text_params = parse({"train": given}, {"train": TextParams}).train
    held = local.Params(**{key: value for key, value in arm().items() if key != "kind"}).held
    learner = TextTask(told, [], tiny_base, held, text_params).load()
    learner.model.eval()
    samples = [learner.examples[number] for number in range(2)]
    ends = learner.loaded.tokenizer.convert_tokens_to_ids("<end_of_turn>")
    assert [answer[-1] for _, answer in samples] == [ends, ends]
    batch = learner.collate(samples)
    wanted = (batch["targets"] != IGNORED).sum(dim=1).tolist()
    assert wanted == [len(answer) for _, answer in samples] and wanted[0] < wanted[1]
    with torch.no_grad():
        whole = learner.loss(learner.model, batch, 2)
        alone = [learner.loss(learner.model, learner.collate([sample]), 2) for sample in samples]
    assert whole.item() == pytest.approx(sum(alone).item(), rel=1e-5)


def test_a_gold_text_that_says_what_no_image_can_show_is_not_taught_where_clean_ones_are_wanted(taught):
    cases, _ = taught
    rows = cases.sample.to_pylist()
    assert [row["role"] for row in rows[2:5]] == ["train"] * 3
    rows[2]["gold_scope"], rows[3]["flags"], rows[4]["flags"] = (
        "other_studies",
        ["diagnosis_in_gold"],
        ["diagnosis_in_history"],
    )
    sample = tables.from_rows(rows, SAMPLE)
    row = params.parse({"arms": {"base": arm()}}, {"arms": params.Rows({"local": local.Params})}).arms["base"]
    base = documents.read(cases.folder / "fetched.json", Snapshot)
    found = {
        clean: [
            one.request.item
            for one in train.told(sample, cases.case_images, "train", row.params, base, clean_gold=clean)
        ]
        for clean in (False, True)
    }
    assert found == {False: ["MPX0002", "MPX0003", "MPX0004", "MPX0005"], True: ["MPX0004", "MPX0005"]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (arm("constant", text="x"), "kind 'constant', wanted local"),
        (arm(prompt="brief_focused"), "brief_focused with questions"),
        (arm(adapter="there"), "adapter 'there', wanted none"),
        (arm(prompt="elaborate", after="other"), "after 'other', wanted none"),
    ],
)
def test_what_cannot_be_taught_is_refused(taught, tmp_path, row, message):
    with pytest.raises(ParamsError, match=message):
        train.main(options(taught[0], tmp_path, {"base": row}))


def test_an_unknown_arm_and_a_training_case_with_a_tested_image_are_named(taught, tmp_path):
    cases, _ = taught
    with pytest.raises(ParamsError, match="did you mean 'base'"):
        train.main(options(cases, tmp_path, {"base": arm()}, arm="bases"))
    rows = cases.case_images.to_pylist()
    images = cases.case_images.set_column(
        cases.case_images.schema.get_field_index("pixel_sha256"),
        "pixel_sha256",
        [["same" if row["case_id"] in ("MPX0000", "MPX0003") else row["pixel_sha256"] for row in rows]],
    )
    row = params.parse({"arms": {"base": arm()}}, {"arms": params.Rows({"local": local.Params})}).arms["base"]
    base = documents.read(cases.folder / "fetched.json", Snapshot)
    with pytest.raises(ParamsError, match="MPX0003 has an image of the tested case MPX0000"):
        train.told(cases.sample, images, "train", row.params, base)
