"""What the rules of the chapter lofi share: its encoders and grounders, their models and code, and the files behind them."""

LOFI = config["lofi"]
ENCODERS, GROUNDERS = list(LOFI["encoders"]), list(LOFI["grounders"])
TUNED = [name for name, row in LOFI["grounders"].items() if row["kind"] == "tuned"]
LOFI_ADAPTER = "results/lofi/train/adapter"
ALIKE_BY = ENCODERS[0]  # whose similar cases are found
WHOLE_MODEL = "config.json weights tokenizer"
LOFI_MODELS = {  # what is fetched, by the name of its record: parameter of the model, parameter of its revision
    "encoder": ("lofi.model.encoder", "lofi.model.encoder_revision"),
    "decoder": ("lofi.model.decoder", "lofi.model.decoder_revision"),
    **{
        f"{kind}_{name}": (f"lofi.{kind}s.{name}.model", f"lofi.{kind}s.{name}.revision")
        for kind, rows in {"encoder": LOFI["encoders"], "grounder": LOFI["grounders"]}.items()
        for name, row in rows.items()
        if "model" in row
    },
}
LOFI_SHOWN = (
    "lofi.section",
    "lofi.encoders",
    "lofi.grounders",
    "lofi.model",
    "lofi.train",
    "lofi.tune",
    "lofi.measure",
    "lofi.ingest",
    "lofi.pair",
)
SIMILAR = (  # similar cases of the nodule study, where both chapters are in the study
    {
        "alike": "results/lofi/alike.parquet",
        "alike_record": "results/lofi/alike.json",
        "alike_normalized": "results/lofi/normalized_alike.parquet",
        "alike_split": "results/data/split.parquet",
    }
    if {"nodules", "lofi"} <= {*CHAPTERS}
    else {}
)


wildcard_constraints:
    encoder="|".join(ENCODERS),
    grounder="|".join(GROUNDERS) or NONE,


def inner(document, key):
    """Value of a document under a dotted name."""
    for name in key.split("."):
        document = document[name]
    return document


def lofi_model_keys(wildcards):
    """Parameters that hold a model and its revision."""
    return " ".join(LOFI_MODELS[wildcards.lofi_model])


def lofi_model_values(wildcards):
    """A model and its revision alone, so that nothing else is a reason to look for it again."""
    document = {}
    for key in LOFI_MODELS[wildcards.lofi_model]:
        *way, last = key.split(".")
        here = document
        for name in way:
            here = here.setdefault(name, {})
        here[last] = inner(config, key)
    return json.dumps(document)


def lofi_model(wildcards):
    """Folder or id of a model."""
    return inner(config, LOFI_MODELS[wildcards.lofi_model][0])


def lofi_made(wildcards):
    """The result that a model lies in, if this pipeline makes it."""
    return made(lofi_model(wildcards))


def lofi_watched(wildcards):
    """Fingerprint of a model, where it is a folder from outside."""
    return watched(lofi_model(wildcards))


def record_of(name):
    """Record of a fetched model."""
    return f"results/weights/lofi/{name}.json"


def encoder_row(wildcards):
    """Row of the encoder of a job."""
    return row_of("encoder", wildcards.encoder)


def encoder_record(wildcards):
    """Record of an encoder's model: its own, or the base of LoFi."""
    return record_of(f"encoder_{wildcards.encoder}" if "model" in encoder_row(wildcards) else "encoder")


def encoder_adapter(wildcards):
    """Adapter of an encoder, if it has one."""
    adapter = encoder_row(wildcards).get("adapter", "none")
    return [] if adapter == "none" else [adapter]


def code_of_encoder(wildcards):
    """Source files of embed, and of the kind of this encoder alone."""
    return sorted({*code("lofi.embed"), *closure(f"{kinds.ENCODERS}.{encoder_row(wildcards)['kind']}")})


def grounder_row(wildcards):
    """Row of the grounder of a job."""
    return row_of("grounder", wildcards.grounder)


def code_of_grounder(wildcards):
    """Source files of ground, and of the kind of this grounder alone."""
    return sorted({*code("lofi.ground"), *closure(f"{kinds.GROUNDERS}.{grounder_row(wildcards)['kind']}")})


def neighbours_of(wildcards):
    """Training images that are like each image, for grounders that show or copy examples."""
    encoder = grounder_row(wildcards).get("encoder", "none")
    needed = encoder != "none" and grounder_row(wildcards)["kind"] in ("copy", "in_context")
    return [f"results/lofi/neighbours/{encoder}.parquet"] if needed else []


def mapped(wildcards):
    """Row of the encoder whose maps a grounder draws; nothing of the other kinds."""
    row = grounder_row(wildcards)
    return row_of("encoder", row["encoder"]) if row["kind"] == "map" else {}


def grounder_base(wildcards):
    """Record of the model that is asked: its own, that of the encoder whose maps it draws, or LoFi's encoder."""
    row = grounder_row(wildcards)
    if "model" in row:
        return [record_of(f"grounder_{wildcards.grounder}")]
    if "model" in mapped(wildcards):
        return [record_of(f"encoder_{row['encoder']}")]
    return [] if row["kind"] == "copy" else [record_of("encoder")]


def grounder_decoder(wildcards):
    """Record of LoFi's decoder, for a grounder that writes by it."""
    return [record_of("decoder")] if wildcards.grounder in TUNED else []


def grounder_adapter(wildcards):
    """Adapter of a grounder: the one that was tuned for it, or that of the encoder whose maps it draws."""
    if wildcards.grounder in TUNED:
        return [f"results/lofi/tune/{wildcards.grounder}/adapter"]
    adapter = mapped(wildcards).get("adapter", "none")
    return [] if adapter == "none" else [adapter]


def adapter_option(wildcards, input):
    """The adapter as an option of the command; rules wait for inputs of this name and do not name them otherwise."""
    given = [input.adapter] if isinstance(input.adapter, str) else list(input.adapter)
    return f"--adapter {quote(given[0])}" if given else ""


def train_from(wildcards):
    """Adapter that training starts from, if it starts from one."""
    start = LOFI["train"]["start"]
    return [] if start == "none" else [start]


def tuned_from(wildcards):
    """Adapter that tuning starts from, if it starts from one."""
    start = grounder_row(wildcards).get("start", "none")
    return [] if start == "none" else [start]


def gpu_of_grounder(wildcards):
    """Whether a job loads a model."""
    return int(grounder_row(wildcards)["kind"] != "copy")


def alike_values(wildcards):
    """Parameters of the search for similar cases, with the row of the encoder alone."""
    document = json.loads(section("lofi.alike", "lofi.embed")(wildcards))
    row = row_of("encoder", ALIKE_BY)
    row.pop("label", None)
    document["lofi"]["encoders"] = {ALIKE_BY: row}
    return json.dumps(document)
