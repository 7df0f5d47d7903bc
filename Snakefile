"""noduleflow: lung nodules on chest X-rays, from a folder of images to a report.

params.yaml holds every number; rules/ says what depends on what; stages/ computes; results/ is what came out.
"""

from snakemake.utils import min_version

min_version("9.27")


configfile: "params.yaml"


include: "rules/common.smk"


scattergather:
    part=config["study"]["shards"],


if set(registry.DEMO) <= set(config):

    include: "rules/demo.smk"


include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/infer.smk"
include: "rules/localize.smk"
include: "rules/report.smk"
include: "rules/predict.smk"


if "chexagent" in config:

    include: "rules/chexagent.smk"


rule all:
    """Everything that one opens when the study is done."""
    default_target: True
    input:
        "results/report.html",
        "results/metrics.json",
        "results/submission/classification_test_results.csv",
        "results/submission/localization_test_results.csv",
    localrule: True
