"""noduleflow: what vision-language models see on radiographs, from a folder of images to a report.

params.yaml holds every number; rules/ says what depends on what; stages/ computes; results/ is what came out.
"""

from snakemake.utils import min_version

min_version("9.27")


configfile: "params.yaml"


include: "rules/common.smk"


scattergather:
    shard=config["study"]["shards"],


include: "rules/report.smk"


if "nodules" in config:

    include: "rules/systems.smk"
    include: "rules/data.smk"
    include: "rules/weights.smk"
    include: "rules/nodules.smk"
    include: "rules/localize.smk"
    include: "rules/measure.smk"
    include: "rules/submit.smk"
    include: "rules/predict.smk"
    include: "rules/audit.smk"


if "findings" in config:

    include: "rules/findings_systems.smk"
    include: "rules/findings.smk"
    include: "rules/findings_tuned.smk"
    include: "rules/findings_audit.smk"


if "lofi" in config:

    include: "rules/lofi_systems.smk"
    include: "rules/lofi.smk"
    include: "rules/lofi_parts.smk"
    include: "rules/lofi_variants.smk"
    include: "rules/lofi_ablations.smk"


if "lofi" in config and "nodules" in config:

    include: "rules/lofi_alike.smk"


if "zoo" in config and "nodules" in config:

    include: "rules/zoo_systems.smk"
    include: "rules/zoo_weights.smk"
    include: "rules/zoo_features.smk"
    include: "rules/zoo.smk"
    include: "rules/zoo_more.smk"
    include: "rules/zoo_predict.smk"


if "nodules" in config and config["data"]["external"]["roots"]:

    include: "rules/external.smk"


if "nodules" in config and len(config["study"]["seeds"]) > 1:

    include: "rules/seeds.smk"


onstart:
    running.begin()


rule all:
    """Everything that one opens when the study is done."""
    default_target: True
    input:
        "results/report.html",
        "results/metrics.json",
        PAGES_APART,
        "results/zoo/check.json" if "zoo" in CHAPTERS else [],
        SUBMISSION if "nodules" in CHAPTERS else [],
    localrule: True
