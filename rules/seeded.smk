"""What is done again for each seed of study.seeds: the split, the training, and all that follows up to the measures.

A Snakefile of its own, so that rules/seeds.smk can take it as a module: the same rules, their files elsewhere.
"""


include: "common.smk"


scattergather:
    shard=config["study"]["shards"],


include: "systems.smk"
include: "data.smk"
include: "nodules.smk"
include: "localize.smk"
include: "measure.smk"


if EXTERNAL:

    include: "external.smk"
