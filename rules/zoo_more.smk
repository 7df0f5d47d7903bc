"""On demand: how many patients a row needs, and what a trained localizer finds when each patient is left out.

Neither is part of the study. Both are measuring stages: they read test labels, or marks of every split, to report and
never to choose. `zoo_localizer_cv` is the one labelled exception to the rule that test images teach nothing: its images
are a subset of its own.

in   results/data/  results/zoo/  results/nodules/localize/: the rivals
out  results/zoo/curve/report.html  results/zoo/localizer_cv/report.html
"""

CV = ZOO["localizer_cv"]
CV_ROW = ZOO["localizers"][CV["localizer"]]


rule zoo_curve_row:
    """Fit a row anew on fewer training patients, several draws of each number."""
    input:
        manifest="results/data/manifest.parquet",
        split="results/data/split.parquet",
        features=reads_of("features", features_of),
        tokens=reads_of("tokens", tokens_of("cohort")),
        embedded=embedded_of,
        code=code_of_model("zoo.curve"),
    output:
        curve="results/zoo/curve/{model}.parquet",
        record="results/zoo/curve/{model}.json",
    log:
        "results/logs/zoo_curve_row/{model}.log",
    resources:
        mem_mb=16000,
        runtime=1440,
    params:
        values=with_row("model", "zoo.embed", "zoo.bank", "zoo.curve", "nodules.cohort", "nodules.model"),
        paths=paths,
    shell:
        "python -m stages.zoo.curve --params {params.values:q} --model {wildcards.model} {params.paths}"
        " --work results/zoo/work/curve_{wildcards.model} 2>&1 | tee {log}"


use rule zoo_section as zoo_curve_section with:
    input:
        measures="results/zoo/measure/measures.parquet",
        curves="results/zoo/measure/curves.parquet",
        notes="results/zoo/measure/notes.json",
        choice="results/zoo/select.json",
        learning=expand("results/zoo/curve/{model}.parquet", model=ZOO["curve"]["rows"]),
        code=code("zoo.section"),
    output:
        section="results/zoo/curve/section.json",
    log:
        "results/logs/zoo_curve_section.log",


use rule zoo_report as zoo_curve_report with:
    input:
        sections="results/zoo/curve/section.json",
        measures="results/zoo/measure/measures.parquet",
        notes="results/zoo/measure/notes.json",
        templates=TEMPLATES,
        code=code("report"),
    output:
        report="results/zoo/curve/report.html",
        metrics="results/zoo/curve/metrics.json",
        summary="results/zoo/curve/summary.json",
    log:
        "results/logs/zoo_curve_report.log",


rule zoo_curve:
    """The chapter's page with the learning curves on it."""
    input:
        "results/zoo/curve/report.html",
    localrule: True


rule zoo_localizer_cv_measure:
    """Fit once per patient, without that patient, and measure beside rivals on the same images."""
    input:
        manifest="results/data/manifest.parquet",
        split="results/data/split.parquet",
        points="results/data/points.parquet",
        normalized=normalized_at(CV_ROW["side_px"]),
        tokens=tokens_of("located")(CV_ROW),
        embedded=f"results/zoo/tokens/{zoo_names.features(CV_ROW)}/located.json",
        rivals=expand(f"{FOUND}/{{rival}}.parquet", rival=CV["rivals"]),
        responses=expand(f"{FOUND}/{{rival}}_responses.parquet", rival=CV["rivals"]),
        choices=expand(f"{FOUND}/{{rival}}_choice.json", rival=CV["rivals"]),
        cutoffs=expand(f"{FOUND}/{{rival}}_cutoff.json", rival=CV["rivals"]),
        code=sorted({*code("zoo.localizer_cv"), *closure(f"{kinds.TRAINED_LOCALIZERS}.{CV_ROW['kind']}")}),
    output:
        measures="results/zoo/localizer_cv/measures.parquet",
        curves="results/zoo/localizer_cv/curves.parquet",
        outcomes="results/zoo/localizer_cv/outcomes.parquet",
        notes="results/zoo/localizer_cv/notes.json",
    log:
        "results/logs/zoo_localizer_cv_measure.log",
    resources:
        mem_mb=8000,
        runtime=1440,
    params:
        values=section("zoo.localizer_cv", "zoo.localizers", "nodules.select", "nodules.tolerance"),
        paths=paths,
    shell:
        "python -m stages.zoo.localizer_cv --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule zoo_localizer_cv_section:
    """Say what a trained localizer finds on patients that it has not seen, beside its rivals."""
    input:
        measures="results/zoo/localizer_cv/measures.parquet",
        curves="results/zoo/localizer_cv/curves.parquet",
        notes="results/zoo/localizer_cv/notes.json",
        code=code("zoo.localizer_cv_section"),
    output:
        section="results/zoo/localizer_cv/section.json",
    log:
        "results/logs/zoo_localizer_cv_section.log",
    localrule: True
    params:
        values=section("zoo.localizer_cv", "zoo.localizers", "nodules.localizers", "data.ingest"),
        paths=paths,
    shell:
        "python -m stages.zoo.localizer_cv_section --params {params.values:q} {params.paths} 2>&1 | tee {log}"


use rule zoo_report as zoo_localizer_cv_report with:
    input:
        sections="results/zoo/localizer_cv/section.json",
        measures="results/zoo/localizer_cv/measures.parquet",
        notes="results/zoo/localizer_cv/notes.json",
        templates=TEMPLATES,
        code=code("report"),
    output:
        report="results/zoo/localizer_cv/report.html",
        metrics="results/zoo/localizer_cv/metrics.json",
        summary="results/zoo/localizer_cv/summary.json",
    log:
        "results/logs/zoo_localizer_cv_report.log",


rule zoo_localizer_cv:
    """The page of the trained localizer, each patient left out."""
    input:
        "results/zoo/localizer_cv/report.html",
    localrule: True
