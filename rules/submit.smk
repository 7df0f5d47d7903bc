"""From predictions and numbers to the challenge's files, and to what the chapter nodules shows.

in   results/data/  results/nodules/
out  results/nodules/section.json  results/submission/
"""

SHOWN = (
    "nodules.classifiers",
    "nodules.localizers",
    "nodules.tolerance",
    "nodules.measure",
    "nodules.submit",
    "data.ingest",
    "data.normalize",
    "data.split",
)
SUBMIT = NODULES["submit"]
SUBMISSION = expand("results/submission/{task}_test_results.csv", task=["classification", "localization"])


rule nodules_submit:
    """Write the two files that the challenge asks for, for the images of the test split."""
    input:
        manifest="results/data/manifest.parquet",
        split="results/data/split.parquet",
        infer=f"results/nodules/infer/{SUBMIT['classifier']}.parquet",
        calibration=f"results/nodules/infer/{SUBMIT['classifier']}_calibration.json",
        localize=f"{FOUND}/{SUBMIT['localizer']}.parquet",
        code=code("nodules.submit"),
    output:
        classification="results/submission/classification_test_results.csv",
        localization="results/submission/localization_test_results.csv",
    log:
        "results/logs/nodules_submit.log",
    localrule: True
    params:
        values=section("nodules.submit"),
        paths=paths,
    shell:
        "python -m stages.nodules.submit --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule nodules_section:
    """Say what the chapter shows: numbers, curves, images with true and predicted points, provenance."""
    input:
        measures="results/nodules/measure/measures.parquet",
        curves="results/nodules/measure/curves.parquet",
        outcomes="results/nodules/measure/outcomes.parquet",
        notes="results/nodules/measure/notes.json",
        manifest="results/data/manifest.parquet",
        points="results/data/points.parquet",
        files="results/data/files.parquet",
        normalized="results/data/normalized.parquet",
        images=gather.shard("results/data/normalized/{scatteritem}"),
        split="results/data/split.parquet",
        infer=expand("results/nodules/infer/{classifier}.parquet", classifier=CLASSIFIERS),
        calibration=expand("results/nodules/infer/{classifier}_calibration.json", classifier=CLASSIFIERS),
        localize=expand(f"{FOUND}/{{localizer}}.parquet", localizer=MEASURED),
        responses=expand(f"{FOUND}/{{localizer}}_responses.parquet", localizer=MEASURED),
        choice=expand(f"{FOUND}/{{localizer}}_choice.json", localizer=LOCALIZERS),
        cutoff=expand(f"{FOUND}/{{localizer}}_cutoff.json", localizer=[*LOCALIZERS, "combined"]),
        train=["results/nodules/train/train.json"] if "tuned" in CLASSIFIERS else [],
        curve=["results/nodules/train/curve.csv"] if "tuned" in CLASSIFIERS else [],
        fetch="results/weights/fetch.json",
        over_seeds=OVER_SEEDS,
        code=code("nodules.section"),
    output:
        section="results/nodules/section.json",
    log:
        "results/logs/nodules_section.log",
    localrule: True
    params:
        values=section("nodules.section", *SHOWN),
        paths=paths,
    shell:
        "python -m stages.nodules.section --params {params.values:q} {params.paths} --results results 2>&1 | tee {log}"
