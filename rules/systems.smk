"""What the rules of the chapter nodules share: its classifiers and localizers, their code, and the files behind them."""

NODULES = config["nodules"]
CLASSIFIERS, LOCALIZERS = list(NODULES["classifiers"]), list(NODULES["localizers"])
RANKED = {name: row["localizer"] for name, row in NODULES["classifiers"].items() if row["kind"] == "points"}
OWN_MODEL = [name for name, row in NODULES["localizers"].items() if row["kind"] == "chexagent"]
TABLES = {name: row["path"] for name, row in NODULES["localizers"].items() if row["kind"] == "table"}
LOFI_MAPS = [name for name, row in NODULES["localizers"].items() if row["kind"] == "lofi_map"]
TUNED = [name for name, row in NODULES["classifiers"].items() if row.get("adapter") == TRAINED]
EXTERNAL = config["data"]["external"]["roots"]


wildcard_constraints:
    external="|".join(EXTERNAL) or NONE,
    classifier="|".join(CLASSIFIERS),
    localizer="|".join(LOCALIZERS),


def code_of_classifier(wildcards):
    """Source files of infer, and of the kind of this classifier alone."""
    return sorted({*code("nodules.infer"), *closure(f"{kinds.CLASSIFIERS}.{classifier_row(wildcards)['kind']}")})


def code_of_audit(wildcards):
    """Source files of audit_score, and of the kind of this classifier alone."""
    return sorted({*code("nodules.audit_score"), *closure(f"{kinds.CLASSIFIERS}.{classifier_row(wildcards)['kind']}")})


def code_of_localizer(wildcards):
    """Source files of localize, and of the kind of this localizer alone."""
    return sorted({*code("nodules.localize"), *closure(f"{kinds.LOCALIZERS}.{localizer_row(wildcards)['kind']}")})


def classifier_row(wildcards):
    """The row of a classifier."""
    return NODULES["classifiers"][wildcards.classifier]


def localizer_row(wildcards):
    """The row of a localizer."""
    return NODULES["localizers"][wildcards.localizer]


def own_folders(wildcards):
    """Fingerprints of a localizer's own model and encoder, where they are folders."""
    return [watched(localizer_row(wildcards)[key]) for key in ("model", "encoder")]


def live(wildcards):
    """The folder of curves to watch while a job trains."""
    return seeded("results/nodules/live", wildcards)


def adapter_of(wildcards):
    """The adapter of a classifier, if this pipeline makes it."""
    return [seeded(TRAINED, wildcards)] if classifier_row(wildcards).get("adapter") == TRAINED else []


def adapter_of_localizer(wildcards):
    """The adapter of a localizer, if this pipeline makes it."""
    row = localizer_row(wildcards)
    given = [seeded(TRAINED, wildcards)] if row.get("adapter") == TRAINED else []
    lofi = row.get("lofi_adapter", "none")
    return given + ([] if lofi == "none" else [lofi])


def adapted(classifier, localizer):
    """Whether an adapter is behind the scores of a classifier or the points of a localizer."""
    classifiers = {classifier, *([NODULES["cascade"]["classifier"]] if localizer == "cascade" else [])}
    points = {localizer, *(RANKED[name] for name in classifiers if name in RANKED)}
    points |= {NODULES["cascade"]["localizer"]} if "cascade" in points else set()
    localizers = LOCALIZERS if "combined" in points else points & {*LOCALIZERS}
    rows = [
        *(NODULES["classifiers"][name] for name in classifiers),
        *(NODULES["localizers"][name] for name in localizers),
    ]
    return any(row.get("adapter", "none") != "none" for row in rows)


def classifiers_behind(row):
    """Classifiers of the study behind the scores of a row of the zoo; an ensemble has those of its members."""
    models = config["zoo"]["models"]
    return [
        name
        for one in (row, *models[row].get("members", ()))
        for name in ([models[one]["classifier"]] if models[one]["kind"] == "study" else [])
    ]


def given_adapter(wildcards):
    """Fingerprint of the adapter that predict reads, for a localizer that has one."""
    own = localizer_row(wildcards).get("adapter", "none")
    return "" if own == "none" else files.fingerprint(config["predict"]["adapter"])


def base_of(wildcards):
    """The base model's record, for a localizer that uses the base model."""
    return [] if wildcards.localizer in [*OWN_MODEL, *LOFI_MAPS, *TABLES] else ["results/weights/fetch.json"]


def fetched_of(wildcards):
    """The record of a localizer's own model."""
    if wildcards.localizer in LOFI_MAPS:
        return ["results/weights/lofi/encoder.json"]
    return ["results/weights/{localizer}.json"] if wildcards.localizer in OWN_MODEL else []


def table_of(wildcards):
    """Points and responses that another chapter made, for a localizer that is read from them."""
    path = TABLES.get(wildcards.localizer)
    return [path, f"{path.removesuffix('.parquet')}_responses.parquet"] if path else []


def gpu_of_localizer(wildcards):
    """Whether a job loads a model."""
    return int(wildcards.localizer not in TABLES)


def environment_of(wildcards):
    """The record of a localizer's own environment."""
    return ["results/weights/{localizer}_environment.json"] if wildcards.localizer in OWN_MODEL else []


def localized(wildcards):
    """Which images a localizer is run on: validation images, too, if a classifier ranks images by its points."""
    found = NODULES["localize"]["images"]
    ranked = {wildcards.localizer, "combined"} & {*RANKED.values()}
    return "scored" if ranked and found == "measured" else found


def points_of(what, folder):
    """What a classifier of the kind points reads: points or responses of its localizer, in a folder."""
    return lambda wildcards: seeded(f"{folder}/{RANKED[wildcards.classifier]}{what}.parquet", wildcards)


def chosen(kind, *names):
    """The files of what was chosen for localizers; none if predict.localize is none."""
    return (
        []
        if config["predict"]["localize"] == "none"
        else [f"{config['predict']['localize']}/{name}_{kind}.json" for name in names]
    )


def external_section(wildcards):
    """The parameters of ingest, for a folder of other data."""
    return section("data.ingest", root=EXTERNAL[wildcards.external])(wildcards)


def external_images(wildcards):
    """The result that a folder of other data lies in, if this pipeline makes it."""
    return made(EXTERNAL[wildcards.external])


def external_watched(wildcards):
    """A fingerprint of a folder of other data."""
    return watched(EXTERNAL[wildcards.external])


def code_of_base(wildcards):
    """Source files of pretrain, and of the kind of this base alone."""
    return sorted({*code("weights.pretrain"), *closure(f"{kinds.BASES}.{row_of('base', wildcards.base)['kind']}")})


def values_of_base(wildcards):
    """The row of a base, and the other sections that its kind reads."""
    wanted = kinds.module(kinds.BASES, row_of("base", wildcards.base)["kind"]).WANTED
    return with_row("base", *wanted)(wildcards)
