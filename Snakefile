"""noduleflow: lung nodules on chest X-rays, from a folder of images to a report.

params.yaml holds every number; rules/ says what depends on what; stages/ computes; results/ is what came out.
"""

from snakemake.utils import min_version

min_version("9.27")


configfile: "params.yaml"


include: "rules/common.smk"


scattergather:
    shard=config["study"]["shards"],


include: "rules/data.smk"
include: "rules/weights.smk"
include: "rules/nodules.smk"
include: "rules/localize.smk"
include: "rules/measure.smk"
include: "rules/report.smk"
include: "rules/predict.smk"
include: "rules/audit.smk"


if config["data"]["external"]["roots"]:

    include: "rules/external.smk"


if len(config["study"]["seeds"]) > 1:

    include: "rules/seeds.smk"


onstart:
    running.begin()


rule all:
    """Everything that one opens when the study is done."""
    default_target: True
    input:
        "results/report.html",
        "results/metrics.json",
        "results/submission/classification_test_results.csv",
        "results/submission/localization_test_results.csv",
    localrule: True
