"""The study again with other seeds: the same rules, their files below seeds/<seed>/.

The first seed of study.seeds is the study itself, in its usual place; so another seed makes nothing anew.

in   results/data/manifest.parquet  normalized.parquet  results/weights/fetch.json
out  results/data/seeds/{seed}/split.parquet  results/nodules/seeds/{seed}/
     results/nodules/measure/over_seeds.parquet
"""


module other_seeds:
    snakefile:
        "seeded.smk"
    config:
        config
    replace_prefix:
        SEEDED


use rule * from other_seeds exclude data_simulate, data_ingest, data_check, data_normalize_shard, data_normalize, data_ingest_external, data_normalize_external_shard, data_normalize_external as seeded_*


rule nodules_join:
    """Say what came out over the seeds: mean, spread, and an interval of the mean for splits that overlap."""
    input:
        measures=[
            "results/nodules/measure/measures.parquet",
            *expand("results/nodules/seeds/{seed}/measure/measures.parquet", seed=SEEDS[1:]),
        ],
        split=[
            "results/data/split.parquet",
            *expand("results/data/seeds/{seed}/split.parquet", seed=SEEDS[1:]),
        ],
        manifest="results/data/manifest.parquet",
        code=code("nodules.join"),
    output:
        over_seeds=OVER_SEEDS,
    log:
        "results/logs/nodules_join.log",
    localrule: True
    params:
        values=section("nodules.cohort", "nodules.measure"),
        paths=paths,
        seeds=SEEDS,
    shell:
        "python -m stages.nodules.join --params {params.values:q} {params.paths} --seeds {params.seeds} 2>&1 | tee {log}"


rule nodules_seeds:
    """What came out over the seeds, as a table and on the chapter's page."""
    input:
        OVER_SEEDS,
        "results/nodules/report.html",
    localrule: True
