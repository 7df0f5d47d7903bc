"""From films to points with words, without training.

in   results/normalized.parquet  results/fetch.json
out  results/localize/medgemma.parquet  results/localize/medgemma_answers.parquet
"""


rule localize_medgemma_part:
    """Ask the base model for boxes around nodules, and keep its words."""
    input:
        base="results/fetch.json",
        manifest="results/manifest.parquet",
        normalized="results/normalized.parquet",
        pngs=gather.part("results/normalized/{scatteritem}"),
        split="results/split.parquet",
        points="results/points.parquet",
        code=code("localize"),
    output:
        localize=temp("results/parts/localize_medgemma/{scatteritem}.parquet"),
        answers=temp("results/parts/localize_medgemma_answers/{scatteritem}.parquet"),
    log:
        "results/logs/localize_medgemma/{scatteritem}.log",
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=1440,
    params:
        values=section("localize", "model"),
        given="--split results/split.parquet --points results/points.parquet",
    shell:
        "python -m stages.localize --params {params.values:q} --base {input.base} --manifest {input.manifest}"
        " --normalized {input.normalized} {params.given} --part {wildcards.scatteritem} --results results"
        " --localize {output.localize} --answers {output.answers} 2>&1 | tee {log}"


rule localize_medgemma:
    """Put the parts together."""
    input:
        localize=gather.part("results/parts/localize_medgemma/{scatteritem}.parquet"),
        answers=gather.part("results/parts/localize_medgemma_answers/{scatteritem}.parquet"),
        code=code("gather"),
    output:
        localize="results/localize/medgemma.parquet",
        answers="results/localize/medgemma_answers.parquet",
    log:
        "results/logs/localize_medgemma.log",
    localrule: True
    shell:
        "(python -m stages.gather --table localize --parts {input.localize} --out {output.localize} &&"
        " python -m stages.gather --table answers --parts {input.answers} --out {output.answers}) 2>&1 | tee {log}"
