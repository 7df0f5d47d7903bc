"""What the rules of the ablations share: the variants, and their parameters."""

from stages.lib.models.lofi.params import SHAPE

ABLATIONS = LOFI["ablations"]
VARIANTS = {"as_is": {}, **ABLATIONS["variants"]}
ABLATED = "results/lofi/ablations/{variant}/{seed}"
ASKED = {  # the grounder that each variant is tuned and asked as, if one is
    name: {key: "OWN/adapter" if key == "start" else value for key, value in row.items() if key != "label"}
    for name, row in LOFI["grounders"].items()
    if name == ABLATIONS["grounder"]
}
RUNS = [f"{variant}/{seed}" for variant in VARIANTS for seed in ABLATIONS["seeds"]]


wildcard_constraints:
    variant="|".join(VARIANTS),


def changed(name, wildcards):
    """A section of the chapter with the changes of a variant, and its own seed; all variants are tuned alike."""
    values = dict(LOFI[name])
    changes = VARIANTS[wildcards.variant] if name in ("train", "model") else {}
    values.update({key: value for key, value in changes.items() if key in values})
    if name == "train" and {*SHAPE} & {*changes}:
        values["start"] = "none"  # the adapter to begin with is of another shape
    if name in ("train", "tune"):
        values["seed"] += int(wildcards.seed)
    return values


def ablated(*names, **rows):
    """Parameters of a job of a variant; `rows` are sections that have but one row, under the name that it has here."""

    def values(wildcards):
        own = ABLATED.format(variant=wildcards.variant, seed=wildcards.seed)
        document = {name: changed(name, wildcards) for name in names}
        for name, row in rows.items():
            document[name] = {key: json.loads(json.dumps(value).replace("OWN", own)) for key, value in row.items()}
        return json.dumps({"lofi": document})

    return values


def alone(wildcards):
    """Parameters of the measurement of one encoder and one grounder, with nothing to compare them with."""
    return json.dumps({"lofi": {"measure": {**LOFI["measure"], "compared_encoders": [], "compared_grounders": []}}})
