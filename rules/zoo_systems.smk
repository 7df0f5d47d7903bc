"""What the rules of the chapter zoo share: its rows, the models behind them, and the files that each row reads."""

ZOO = config["zoo"]
MODELS, ZOO_LOCALIZERS = list(ZOO["models"]), list(ZOO["localizers"])
ZOO_ROWS = zoo_names.rows(config)  # section, name, row
READS = {name: kinds.module(kinds.MODELS, row["kind"]).READS for name, row in ZOO["models"].items()}
STUDY_SIDE = config["data"]["normalize"]["side_px"]
STUDY_SHIFTS = NODULES["infer"]["shifts"]
ZOO_FOUND = "results/zoo/localize"
VISION_ENVIRONMENT = "results/weights/zoo/vision_environment.json"
ON_GPU = (
    "pooled",
    "tuned",
    "soup",
    "vlm",
    "chexagent",
    "published",
    "detector",
)  # kinds whose fit or scores load a model


SOURCES = {  # rows by the name of their model's files; those of the study's base are the study's
    zoo_names.weights(row): (section, name) for section, name, row in ZOO_ROWS if zoo_names.own_weights(row)
}
CHEXAGENTS = [name for name, row in ZOO["models"].items() if row["kind"] == "chexagent"]
CHEXAGENT_ENVIRONMENT = "results/weights/zoo/chexagent_environment.json"
OWN_ENVIRONMENTS = [
    *([CHEXAGENT_ENVIRONMENT] if CHEXAGENTS else []),
    *([VISION_ENVIRONMENT] if any(zoo_names.needs_vision(row) for _, _, row in ZOO_ROWS) else []),
]
USED_LOCALIZERS = [  # whose points are a localizer of the study
    name
    for name in ZOO_LOCALIZERS
    if any(row.get("path") == f"{ZOO_FOUND}/{name}.parquet" for row in NODULES["localizers"].values())
]
CONVERTED = [name for name, (section, row) in SOURCES.items() if zoo_names.is_pickled(ZOO[section][row])]
FEATURED = {zoo_names.features(row): row for _, _, row in ZOO_ROWS if zoo_names.has_features(row)}
ASKED = {  # classifiers of the study with another number of shifts than the study's
    f"{row['classifier']}_{row['shifts']}": row
    for row in ZOO["models"].values()
    if row["kind"] == "study" and row["shifts"] != STUDY_SHIFTS
}
SIDES = zoo_names.sides(config)


def one_of(names):
    """Pattern of a wildcard that is one of some names; of none, it fits nothing."""
    return "|".join(re.escape(str(name)) for name in names) or NONE


wildcard_constraints:
    model=one_of(MODELS),
    zoo_localizer=one_of(ZOO_LOCALIZERS),
    source=one_of(SOURCES),
    features=one_of(FEATURED),
    side=one_of(SIDES),
    asked=one_of(ASKED),
    purpose="cohort|located",
    chexagent=one_of(CHEXAGENTS),


def model_row(wildcards):
    """The row of a model."""
    return row_of("model", wildcards.model)


def source_row(wildcards):
    """The row that names a model's files."""
    section, name = SOURCES[wildcards.source]
    return ZOO[section][name]


def source_values(wildcards):
    """A model's id and revision alone, of a pickled one library and class beside, under no row's name: rows share it, and may be renamed."""
    row = source_row(wildcards)
    keys = zoo_names.CONVERTED_KEYS if zoo_names.is_pickled(row) else ("source", "revision")
    return json.dumps({"zoo": {"models": {"*": {key: row[key] for key in keys}}}})


def source_made(wildcards):
    """The result that a model lies in, if this pipeline makes it; of a pickled file here, what says how it is built."""
    row = source_row(wildcards)
    return [*made(row["source"]), *zoo_names.beside(row)]


def source_watched(wildcards):
    """Fingerprint of a model, where it is a folder or file from outside."""
    return watched(source_row(wildcards)["source"])


def source_wants(wildcards):
    """What a model's folder has to have: all that any of its rows wants."""
    sharing = [row for _, _, row in ZOO_ROWS if zoo_names.own_weights(row)]
    wanted = [zoo_names.wants(row) for row in sharing if zoo_names.weights(row) == wildcards.source]
    return " ".join(max(wanted, key=len))


def weights_of(row):
    """Record of a row's model: the study's base, or its own."""
    if "source" not in row:
        return []
    return [
        (
            "results/weights/fetch.json"
            if not zoo_names.own_weights(row)
            else f"results/weights/zoo/{zoo_names.weights(row)}.json"
        )
    ]


def environment_of_row(row):
    """Record of the environment that a row's library needs, beside the locked one."""
    return [VISION_ENVIRONMENT] if zoo_names.needs_vision(row) else []


def normalized_at(side_px):
    """Table of the images at a side."""
    return "results/data/normalized.parquet" if side_px == STUDY_SIDE else f"results/zoo/pixels/{side_px}.parquet"


def images_at(side_px):
    """Folders of the images at a side."""
    folder = "results/data/normalized" if side_px == STUDY_SIDE else f"results/zoo/pixels/{side_px}"
    return [str(path) for path in gather.shard(f"{folder}/{{scatteritem}}")]


def of_features(function):
    """A function of a row as one of the wildcard `features`."""
    return lambda wildcards: function(FEATURED[wildcards.features])


def of_model(function):
    """A function of a row as one of the wildcard `model`."""
    return lambda wildcards: function(model_row(wildcards))


def chexagent_values(wildcards):
    """The row of CheXagent, by which its files are found."""
    row = dict(row_of("model", wildcards.chexagent))
    row.pop("label", None)
    return json.dumps({"zoo": {"models": {wildcards.chexagent: row}}})


def chexagent_watched(wildcards):
    """Fingerprints of CheXagent and its encoder, where they are folders."""
    return [watched(row_of("model", wildcards.chexagent)[key]) for key in ("model", "encoder")]


def of_localizer(function):
    """A function of a row as one of the wildcard `zoo_localizer`."""
    return lambda wildcards: function(row_of("zoo_localizer", wildcards.zoo_localizer))


def side_values(wildcards):
    """Parameters of normalize at another side."""
    return section("data.normalize", side_px=int(wildcards.side))(wildcards)


def features_values(*more, **changed):
    """Parameters of embed: the keys of a row that decide its features, whatever the row is called."""

    def values(wildcards):
        document = json.loads(section("zoo.embed", "nodules.cohort", "nodules.model", *more)(wildcards))
        document["zoo"]["backbone"] = zoo_names.backbone(FEATURED[wildcards.features])
        document["zoo"]["embed"].update({key: value(wildcards) for key, value in changed.items()})
        return json.dumps(document)

    return values


def code_of_backbone(stage):
    """Source files of a stage, and of the library of these features alone."""
    return lambda wildcards: sorted(
        {*code(stage), *closure(f"{kinds.BACKBONES}.{FEATURED[wildcards.features]['library']}")}
    )


def code_of_model(stage):
    """Source files of a stage, and of the kind of this row alone."""
    return lambda wildcards: sorted({*code(stage), *closure(f"{kinds.MODELS}.{model_row(wildcards)['kind']}")})


def features_of(row):
    """Files of a row's features, if its kind reads them, with their record."""
    name = zoo_names.features(row)
    return [str(path) for path in gather.shard(f"results/zoo/features/{name}/{{scatteritem}}.parquet")]


def tokens_of(purpose):
    """Files of the patch tokens of a row."""
    return lambda row: [
        str(path)
        for path in gather.shard(f"results/zoo/tokens/{zoo_names.features(row)}/{purpose}/{{scatteritem}}.parquet")
    ]


def reads_of(what, found):
    """Files that a model's kind reads, of one sort; none of a kind that reads others."""
    return lambda wildcards: found(model_row(wildcards)) if READS[wildcards.model] == what else []


def embedded_of(wildcards):
    """Record of the features or tokens that a model's kind reads."""
    row = model_row(wildcards)
    if READS[wildcards.model] == "features":
        return [f"results/zoo/features/{zoo_names.features(row)}.json"]
    if READS[wildcards.model] == "tokens":
        return [f"results/zoo/tokens/{zoo_names.features(row)}/cohort.json"]
    return []


def pixels_of(wildcards):
    """Table of the images that a model sees."""
    return [normalized_at(model_row(wildcards)["side_px"])] if READS[wildcards.model] == "pixels" else []


def folders_of_pixels(wildcards):
    """Folders of the images that a model sees."""
    return images_at(model_row(wildcards)["side_px"]) if READS[wildcards.model] == "pixels" else []


def own_weights(wildcards):
    """Record of the model of a row that loads one when it is fitted or asked, or whose operations are counted."""
    row = model_row(wildcards)
    if row["kind"] == "study":
        counted = NODULES["classifiers"].get(row["classifier"], {}).get("kind") == "medgemma"
        return ["results/weights/fetch.json"] if counted else []
    return weights_of(row) if READS[wildcards.model] == "pixels" else []


def parts_of(wildcards):
    """Record of the files of CheXagent, of a row that asks it."""
    return [f"results/weights/zoo/{name}_parts.json" for name in [wildcards.model] if name in CHEXAGENTS]


def own_environment(wildcards):
    """Record of the environment of a row that loads a model when it is fitted or asked."""
    if wildcards.model in CHEXAGENTS:
        return [CHEXAGENT_ENVIRONMENT]
    return environment_of_row(model_row(wildcards)) if READS[wildcards.model] == "pixels" else []


def scores_of(wildcards):
    """Scores that a row reads: those of an ensemble's members, or of a classifier of the study."""
    row = model_row(wildcards)
    if row["kind"] == "study":
        name = f"{row['classifier']}_{row['shifts']}"
        return [f"results/zoo/study/{name}.parquet" if name in ASKED else study_scores(row["classifier"])]
    members = row["members"] if READS[wildcards.model] == "scores" else []
    return expand("results/zoo/infer/raw/{member}.parquet", member=members)


def study_scores(classifier):
    """Scores of a classifier of the study, as it is asked there."""
    return f"results/nodules/infer/raw/{classifier}.parquet"


def members_of(wildcards):
    """What the members of an ensemble were fitted to."""
    return expand("results/zoo/fit/{member}", member=model_row(wildcards).get("members", []))


def member_fits_of(wildcards):
    """Records of the fits of an ensemble's members."""
    return expand("results/zoo/fit/{member}.json", member=model_row(wildcards).get("members", []))


def gpu_of_model(wildcards):
    """Whether a job loads a model."""
    return int(model_row(wildcards)["kind"] in ON_GPU)


def asked_row(wildcards):
    """The row of the study's classifier that is asked with other shifts."""
    return NODULES["classifiers"][ASKED[wildcards.asked]["classifier"]]


def asked_values(wildcards):
    """Parameters of a classifier of the study, asked with other shifts."""
    row = ASKED[wildcards.asked]
    names = ("nodules.infer", "nodules.model", "nodules.prompt")
    document = json.loads(section(*names, shifts=row["shifts"])(wildcards))
    own = dict(asked_row(wildcards))
    own.pop("label", None)
    document["nodules"]["classifiers"] = {row["classifier"]: own}
    return json.dumps(document)


def asked_classifier(wildcards):
    """Name of the study's classifier."""
    return ASKED[wildcards.asked]["classifier"]


def asked_adapter(wildcards):
    """The adapter of the study's classifier, if this pipeline makes it."""
    return [TRAINED] if asked_row(wildcards).get("adapter") == TRAINED else []


def code_of_asked(wildcards):
    """Source files of infer, and of the kind of this classifier alone."""
    return sorted({*code("nodules.infer"), *closure(f"{kinds.CLASSIFIERS}.{asked_row(wildcards)['kind']}")})


def code_of_trained(stage):
    """Source files of a stage, and of the kind of this localizer alone."""
    return lambda wildcards: sorted(
        {
            *code(stage),
            *closure(f"{kinds.TRAINED_LOCALIZERS}.{row_of('zoo_localizer', wildcards.zoo_localizer)['kind']}"),
        }
    )


EMBEDDED = sorted(  # records of all features and tokens that rows of zoo.models read
    {
        (
            f"results/zoo/features/{zoo_names.features(row)}.json"
            if READS[name] == "features"
            else f"results/zoo/tokens/{zoo_names.features(row)}/cohort.json"
        )
        for name, row in ZOO["models"].items()
        if READS[name] in ("features", "tokens")
    }
)


def predicted_at(side_px):
    """Table of the images of predict at a side."""
    whole = side_px == STUDY_SIDE
    return "results/predict/normalized.parquet" if whole else f"results/predict/zoo/pixels/{side_px}.parquet"


def predicted_images(side_px):
    """Folders of the images of predict at a side."""
    folder = "results/predict/normalized" if side_px == STUDY_SIDE else f"results/predict/zoo/pixels/{side_px}"
    return [str(path) for path in gather.shard(f"{folder}/{{scatteritem}}")]


def moved(path):
    """The file of the images of predict that stands for one of the study's images."""
    return path.replace("results/zoo/infer/raw", "results/zoo/raw", 1).replace("results/zoo", "results/predict/zoo", 1)


def elsewhere(found):
    """Files of a row, of the images of predict."""
    return lambda row: [moved(path) for path in found(row)]


def embedded_elsewhere(wildcards):
    """Record of the features or tokens that a model's kind reads, of the images of predict."""
    return [moved(path) for path in embedded_of(wildcards)]


def pixels_elsewhere(wildcards):
    """Table of the images of predict: those that a model sees, or a list of the images of a row that sees none."""
    pixels = READS[wildcards.model] == "pixels"
    return predicted_at(model_row(wildcards)["side_px"] if pixels else STUDY_SIDE)


def folders_elsewhere(wildcards):
    """Folders of the images of predict that a model sees."""
    return predicted_images(model_row(wildcards)["side_px"]) if READS[wildcards.model] == "pixels" else []


def scores_elsewhere(wildcards):
    """Scores that a row reads, of the images of predict."""
    row = model_row(wildcards)
    if row["kind"] == "study" and f"{row['classifier']}_{row['shifts']}" not in ASKED:
        return [f"results/predict/raw/{row['classifier']}.parquet"]
    return [moved(path) for path in scores_of(wildcards)]


def fitted_elsewhere(wildcards):
    """Fingerprint of what a row was fitted to."""
    return files.fingerprint(f"results/zoo/fit/{wildcards.model}")


def asked_elsewhere(wildcards):
    """Parameters of a classifier of the study on images of predict, with the adapter that predict reads."""
    document = json.loads(asked_values(wildcards))
    for row in document["nodules"]["classifiers"].values():
        if row.get("adapter", "none") != "none":
            row["adapter"] = config["predict"]["adapter"]
    return json.dumps(document)


def tokens_of_localizer(row):
    """Patch tokens that a localizer learns from, if it reads them."""
    return tokens_of("located")(row) if trained_reads(row) == "tokens" else []


def embedded_of_localizer(row):
    """Their record."""
    return [f"results/zoo/tokens/{zoo_names.features(row)}/located.json"] if trained_reads(row) == "tokens" else []


def weights_of_localizer(row):
    """Record of the model of a localizer that loads one itself."""
    return weights_of(row) if trained_reads(row) == "pixels" else []


def trained_reads(row):
    """What a kind of trained localizers reads: tokens or pixels."""
    return kinds.module(kinds.TRAINED_LOCALIZERS, row["kind"]).READS
