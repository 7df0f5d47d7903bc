"""From predictions to numbers.

in   results/data/  results/nodules/
out  results/nodules/measure/
"""

NUMBERS = [  # sections that the chapter's numbers depend on
    name
    for name in registry.HOMES
    if name.partition(".")[0] in ("data", "weights", "nodules")
    and registry.has(config, name)
    and name not in registry.APART
]
MEASURED = [*LOCALIZERS, "combined", "cascade"]


rule nodules_measure:
    """Measure all classifiers and localizers, each number with its interval over patients."""
    input:
        manifest="results/data/manifest.parquet",
        normalized="results/data/normalized.parquet",
        images=gather.shard("results/data/normalized/{scatteritem}"),
        points="results/data/points.parquet",
        split="results/data/split.parquet",
        infer=expand("results/nodules/infer/{classifier}.parquet", classifier=CLASSIFIERS),
        calibration=expand("results/nodules/infer/{classifier}_calibration.json", classifier=CLASSIFIERS),
        other_form=["results/nodules/infer/tuned_other_form.parquet"] if "tuned" in CLASSIFIERS else [],
        localize=expand(f"{FOUND}/{{localizer}}.parquet", localizer=MEASURED),
        responses=expand(f"{FOUND}/{{localizer}}_responses.parquet", localizer=MEASURED),
        choice=expand(f"{FOUND}/{{localizer}}_choice.json", localizer=LOCALIZERS),
        cutoff=expand(f"{FOUND}/{{localizer}}_cutoff.json", localizer=[*LOCALIZERS, "combined"]),
        external_manifest=expand("results/data/external/{external}/manifest.parquet", external=EXTERNAL),
        external_infer=expand(
            "results/nodules/external/{external}/infer/{classifier}.parquet", external=EXTERNAL, classifier=CLASSIFIERS
        ),
        train=["results/nodules/train/train.json"] if "tuned" in CLASSIFIERS else [],
        code=code("nodules.measure"),
    output:
        measures="results/nodules/measure/measures.parquet",
        curves="results/nodules/measure/curves.parquet",
        outcomes="results/nodules/measure/outcomes.parquet",
        notes="results/nodules/measure/notes.json",
    log:
        "results/logs/nodules_measure.log",
    localrule: True
    params:
        values=section(*NUMBERS),
        paths=paths,
    shell:
        "python -m stages.nodules.measure --params {params.values:q} {params.paths} --results results 2>&1 | tee {log}"
