"""How and where the study runs. Never imported by a Snakefile, where `workflow` is Snakemake's own object."""
