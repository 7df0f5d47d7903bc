"""The export is loaded by plain transformers and PEFT, and embeds as the network that was trained."""

import json

import lofi_reports
import lofi_training
import numpy as np
import pytest
import torch

from stages.lib.core.errors import MismatchError
from stages.lib.models import snapshot
from stages.lib.models.encoder import PairSetting
from stages.lib.models.encoders import lofi, siglip
from stages.lib.models.lofi import weights
from stages.lib.models.lofi.params import ModelParams
from stages.lofi import export, train
from stages.weights import fetch_model

TEXTS = ["No Nodule.", "The lungs are clear."]
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32), np.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A trained adapter with its export, and the network by our own code."""
    folder = tmp_path_factory.mktemp("exported")
    lofi_training.write_bases(folder / "bases")
    study = lofi_reports.study(folder / "results")
    train.main(lofi_training.options(study, folder / "bases", folder))
    main(folder)
    return folder


def main(folder, model=None):
    sections = {"export": {"dtype": "float32"}, "model": {**lofi_training.lofi_models.MODEL, **(model or {})}}
    named = {"params": json.dumps({"lofi": sections}), "adapter": folder / "adapter", "train": folder / "train.json"}
    named |= {name: folder / f"bases/{name}.json" for name in ("encoder", "decoder")}
    named |= {"export": folder / "export"}
    export.main([text for name, value in named.items() for text in (f"--{name}", str(value))])


def ours(folder):
    bases = [snapshot.read(folder / f"bases/{name}.json") for name in ("encoder", "decoder")]
    return weights.load(*bases, ModelParams(**lofi_training.lofi_models.MODEL), folder / "adapter")


def theirs(model, folder):
    """Embeddings by transformers alone, as the model card says."""
    from transformers import AutoImageProcessor, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    texts = tokenizer([text.lower() for text in TEXTS], padding="max_length", return_tensors="pt")
    pixels = processor([np.dstack([image] * 3) for image in IMAGES], return_tensors="pt")
    with torch.no_grad():
        told = model(input_ids=texts["input_ids"], **pixels)
    return told.image_embeds.numpy(), told.text_embeds.numpy()


def test_automodel_loads_the_encoder_and_its_embeddings_are_ours(exported):
    from transformers import AutoModel, SiglipModel

    model = AutoModel.from_pretrained(exported / "export/encoder").eval()
    assert type(model) is SiglipModel
    loaded = ours(exported)
    images, texts = theirs(model, exported / "export/encoder")
    np.testing.assert_allclose(images, loaded.embed_images(IMAGES), atol=2e-5)
    np.testing.assert_allclose(texts, loaded.embed_texts(TEXTS), atol=2e-5)
    base, _ = theirs(AutoModel.from_pretrained(exported / "bases/encoder").eval(), exported / "export/encoder")
    assert np.abs(base - images).max() > 1e-3


def test_peft_puts_the_adapter_alone_on_the_base_and_its_embeddings_are_ours(exported):
    from peft import PeftModel
    from transformers import AutoModel

    base = AutoModel.from_pretrained(exported / "bases/encoder")
    model = PeftModel.from_pretrained(base, str(exported / "export/adapters/encoder")).eval()
    loaded = ours(exported)
    images, texts = theirs(model, exported / "export/encoder")
    np.testing.assert_allclose(images, loaded.embed_images(IMAGES), atol=2e-5)
    np.testing.assert_allclose(texts, loaded.embed_texts(TEXTS), atol=2e-5)


@pytest.mark.parametrize("way", ["merged", "adapter"])
def test_the_decoder_is_loaded_too_and_writes_as_ours(exported, way):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    at = exported / ("export/decoder" if way == "merged" else "bases/decoder")
    model = AutoModelForCausalLM.from_pretrained(at).eval()
    if way == "adapter":
        model = PeftModel.from_pretrained(model, str(exported / "export/adapters/decoder")).eval()
    ids = torch.tensor([[2, 300, 301, 302, 303]])
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, ours(exported).network.decoder.eval()(ids).logits)


def test_what_stands_between_them_lies_beside_them_by_its_names(exported):
    from safetensors.torch import load_file

    network = ours(exported).network
    for folder in ("export", "export/adapters"):
        found = load_file(exported / folder / "pooling.safetensors")
        assert {name.split(".")[0] for name in found} == {"pooling", "projection"}
        assert all(torch.equal(value, network.get_parameter(name)) for name, value in found.items())


def test_the_model_card_says_base_data_and_how_to_ask(exported):
    text = (exported / "export/encoder/README.md").read_text()
    for words in (
        "base_model: tiny-siglip",
        "8 training images, of which 4 had boxes",
        "64 tokens",
        "`c0ffee`",
        "32 px",
    ):
        assert words in text
    assert "{" not in text.split("```python")[0]


def test_an_adapter_of_another_pooling_is_not_exported(exported):
    with pytest.raises(MismatchError, match="pooling 'queries', now 'heads'"):
        main(exported, {"pooling": "heads"})


def test_as_a_row_of_the_kind_siglip_the_merged_encoder_gives_the_vectors_of_the_adapter(exported):
    adapted = PairSetting(found=snapshot.read(exported / "bases/encoder.json"), preprocessing_hash="c0ffee")
    fetch_model.main(
        [
            *("--params", json.dumps({"base": str(exported / "export/encoder"), "revision": "none"})),
            *("--keys", "base", "revision", "--wants", "config.json", "weights", "tokenizer"),
            *("--out", str(exported / "merged.json")),
        ]
    )
    plain = PairSetting(found=snapshot.read(exported / "merged.json"), preprocessing_hash="c0ffee")
    row = siglip.Params(model=str(exported / "export/encoder"), revision="none", dtype="float32")
    one, other = lofi.pair(lofi.Params(adapter=str(exported / "adapter")), adapted), siglip.pair(row, plain)
    np.testing.assert_allclose(one.embed(list(IMAGES)), other.embed(list(IMAGES)), atol=1e-6)
    np.testing.assert_allclose(one.texts(TEXTS), other.texts(TEXTS), atol=1e-6)
