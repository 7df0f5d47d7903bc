"""Stages of the study: one module per verb. Nothing here knows Snakemake, DVC or the place of a file."""
