"""The study again with other seeds: the same rules, their files below seeds/<seed>/.

The first seed of study.seeds is the study itself, in its usual place; so another seed makes nothing anew.

in   results/data/manifest.parquet  normalized.parquet  results/weights/fetch.json
out  results/data/seeds/{seed}/split.parquet  results/nodules/seeds/{seed}/
"""


module other_seeds:
    snakefile:
        "seeded.smk"
    config:
        config
    replace_prefix:
        SEEDED


use rule * from other_seeds exclude data_simulate, data_ingest, data_normalize_shard, data_normalize as seeded_*


rule nodules_seeds:
    """The measures of every seed of study.seeds."""
    input:
        expand("results/nodules/seeds/{seed}/measure/measures.parquet", seed=SEEDS[1:]),
    localrule: True
