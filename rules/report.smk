"""From predictions to numbers, the challenge's files, and a page.

in   results/split.parquet  results/points.parquet  results/infer/  results/localize/  results/train/
out  results/metrics.json  results/submission/  results/report.html
"""

FOUND = [*LOCALIZERS, "combined", "cascade"]


rule metrics:
    """Measure both models and the localizer, each number with its interval over patients."""
    input:
        manifest="results/manifest.parquet",
        points="results/points.parquet",
        split="results/split.parquet",
        infer=["results/infer/zero_shot.parquet", "results/infer/tuned.parquet"],
        calibration=["results/infer/zero_shot_calibration.json", "results/infer/tuned_calibration.json"],
        twin="results/infer/tuned_twin.parquet",
        localize=expand("results/localize/{localizer}.parquet", localizer=FOUND),
        answers=expand("results/localize/{localizer}_answers.parquet", localizer=FOUND),
        choice=expand("results/localize/{localizer}_choice.json", localizer=LOCALIZERS),
        cutoff=expand("results/localize/{localizer}_cutoff.json", localizer=[*LOCALIZERS, "combined"]),
        train="results/train/train.json",
        base="results/fetch.json",
        code=code("nodules.measure"),
    output:
        metrics="results/metrics.json",
        summary="results/summary.json",
    log:
        "results/logs/metrics.log",
    localrule: True
    params:
        values=section(*[name for name in config if name not in ("study", "pretrain", "submit", "report", "predict")]),
    shell:
        "python -m stages.nodules.measure --params {params.values:q} --manifest {input.manifest} --points {input.points}"
        " --split {input.split} --infer {input.infer} --calibration {input.calibration} --twin {input.twin}"
        " --localize {input.localize} --answers {input.answers} --choice {input.choice} --cutoff {input.cutoff}"
        " --train {input.train} --metrics {output.metrics} --summary {output.summary} 2>&1 | tee {log}"


rule submit:
    """Write the two files that the challenge asks for, for the images of the test split."""
    input:
        manifest="results/manifest.parquet",
        split="results/split.parquet",
        infer="results/infer/tuned.parquet",
        calibration="results/infer/tuned_calibration.json",
        localize=f"results/localize/{config['submit']['localizer']}.parquet",
        code=code("nodules.submit"),
    output:
        classification="results/submission/classification_test_results.csv",
        localization="results/submission/localization_test_results.csv",
    log:
        "results/logs/submit.log",
    localrule: True
    params:
        values=section("submit"),
        given="--split results/split.parquet --calibration results/infer/tuned_calibration.json",
    shell:
        "python -m stages.nodules.submit --params {params.values:q} --manifest {input.manifest} {params.given}"
        " --infer {input.infer} --localize {input.localize}"
        " --classification {output.classification} --localization {output.localization} 2>&1 | tee {log}"


rule report:
    """Draw the page: numbers with intervals, curves, images with true and predicted points, provenance."""
    input:
        template="stages/lib/report/templates/report.html.j2",
        metrics="results/metrics.json",
        manifest="results/manifest.parquet",
        points="results/points.parquet",
        normalized="results/normalized.parquet",
        pngs=gather.part("results/normalized/{scatteritem}"),
        split="results/split.parquet",
        infer=["results/infer/zero_shot.parquet", "results/infer/tuned.parquet"],
        calibration=["results/infer/zero_shot_calibration.json", "results/infer/tuned_calibration.json"],
        localize=expand("results/localize/{localizer}.parquet", localizer=FOUND),
        answers=expand("results/localize/{localizer}_answers.parquet", localizer=FOUND),
        train="results/train/train.json",
        curve="results/train/curve.csv",
        base="results/fetch.json",
        code=code("report"),
    output:
        report="results/report.html",
    log:
        "results/logs/report.log",
    localrule: True
    params:
        values=section("report"),
    shell:
        "python -m stages.report --params {params.values:q} --template {input.template} --metrics {input.metrics}"
        " --manifest {input.manifest} --points {input.points} --normalized {input.normalized} --split {input.split}"
        " --infer {input.infer} --calibration {input.calibration} --localize {input.localize}"
        " --answers {input.answers} --train {input.train} --curve {input.curve} --fetch {input.base} --results results"
        " --report {output.report} 2>&1 | tee {log}"
