"""From predictions to numbers, the challenge's files, and a page.

in   results/data/  results/nodules/
out  results/metrics.json  results/summary.json  results/submission/  results/report.html
"""

MEASURED = [*LOCALIZERS, "combined", "cascade"]
SUBMIT = NODULES["submit"]


rule nodules_measure:
    """Measure all classifiers and localizers, each number with its interval over patients."""
    input:
        manifest="results/data/manifest.parquet",
        points="results/data/points.parquet",
        split="results/data/split.parquet",
        infer=expand("results/nodules/infer/{classifier}.parquet", classifier=CLASSIFIERS),
        calibration=expand("results/nodules/infer/{classifier}_calibration.json", classifier=CLASSIFIERS),
        twin=["results/nodules/infer/tuned_twin.parquet"] if "tuned" in CLASSIFIERS else [],
        localize=expand(f"{FOUND}/{{localizer}}.parquet", localizer=MEASURED),
        answers=expand(f"{FOUND}/{{localizer}}_answers.parquet", localizer=MEASURED),
        choice=expand(f"{FOUND}/{{localizer}}_choice.json", localizer=LOCALIZERS),
        cutoff=expand(f"{FOUND}/{{localizer}}_cutoff.json", localizer=[*LOCALIZERS, "combined"]),
        train=["results/nodules/train/train.json"] if "tuned" in CLASSIFIERS else [],
        code=code("nodules.measure"),
    output:
        metrics="results/metrics.json",
        summary="results/summary.json",
    log:
        "results/logs/nodules_measure.log",
    localrule: True
    params:
        values=section(*[name for name in registry.HOMES if registry.has(config, name) and name not in registry.APART]),
        paths=paths,
    shell:
        "python -m stages.nodules.measure --params {params.values:q} {params.paths} 2>&1 | tee {log}"


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


rule report:
    """Draw the page: numbers with intervals, curves, images with true and predicted points, provenance."""
    input:
        template="stages/lib/report/templates/report.html.j2",
        metrics="results/metrics.json",
        manifest="results/data/manifest.parquet",
        points="results/data/points.parquet",
        normalized="results/data/normalized.parquet",
        images=gather.shard("results/data/normalized/{scatteritem}"),
        split="results/data/split.parquet",
        infer=expand("results/nodules/infer/{classifier}.parquet", classifier=CLASSIFIERS),
        calibration=expand("results/nodules/infer/{classifier}_calibration.json", classifier=CLASSIFIERS),
        localize=expand(f"{FOUND}/{{localizer}}.parquet", localizer=MEASURED),
        answers=expand(f"{FOUND}/{{localizer}}_answers.parquet", localizer=MEASURED),
        train=["results/nodules/train/train.json"] if "tuned" in CLASSIFIERS else [],
        curve=["results/nodules/train/curve.csv"] if "tuned" in CLASSIFIERS else [],
        fetch="results/weights/fetch.json",
        code=code("report"),
    output:
        report="results/report.html",
    log:
        "results/logs/report.log",
    localrule: True
    params:
        values=section("report"),
        paths=paths,
    shell:
        "python -m stages.report --params {params.values:q} {params.paths} --results results 2>&1 | tee {log}"
