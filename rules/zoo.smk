"""Is the 4B model worth it? Probes, CNNs, other models and a trained localizer, on the split, pixels and calibration of the study.

A model is a row of zoo.models: fitted on training images, its choices made on validation images, and measured once.

in   results/data/  results/weights/  results/nodules/: what the study's own classifiers say
out  results/zoo/report.html  metrics.json, and a Parquet file per step
"""

ZOO_SHOWN = ("zoo.section", "zoo.models", "zoo.localizers", "zoo.bank", "zoo.select", "zoo.measure", "data.ingest")


rule zoo_fit:
    """Fit a row on training images, and make its choices on validation images: a head, a network, or a wording."""
    input:
        manifest="results/data/manifest.parquet",
        split="results/data/split.parquet",
        features=reads_of("features", features_of),
        tokens=reads_of("tokens", tokens_of("cohort")),
        embedded=embedded_of,
        normalized=pixels_of,
        images=folders_of_pixels,
        scores=scores_of,
        members=members_of,
        member_fits=member_fits_of,
        weights=own_weights,
        parts=parts_of,
        environment=own_environment,
        code=code_of_model("zoo.fit"),
    output:
        fitted=directory("results/zoo/fit/{model}"),
        fit="results/zoo/fit/{model}.json",
    log:
        "results/logs/zoo_fit/{model}.log",
    resources:
        gpu=gpu_of_model,
        mem_mb=16000,
        runtime=2880,
    params:
        values=with_row("model", "zoo.embed", "zoo.bank", "nodules.cohort", "nodules.model"),
        paths=paths,
    shell:
        "python -m stages.zoo.fit --params {params.values:q} --model {wildcards.model} {params.paths}"
        " --results results --work results/zoo/work/{wildcards.model} --cache results/zoo/kept 2>&1 | tee {log}"


rule zoo_infer_shard:
    """Score the validation and test images by a row as it was fitted."""
    input:
        manifest="results/data/manifest.parquet",
        split="results/data/split.parquet",
        features=reads_of("features", features_of),
        tokens=reads_of("tokens", tokens_of("cohort")),
        embedded=embedded_of,
        normalized=pixels_of,
        images=folders_of_pixels,
        scores=scores_of,
        members=members_of,
        member_fits=member_fits_of,
        weights=own_weights,
        parts=parts_of,
        environment=own_environment,
        fitted="results/zoo/fit/{model}",
        fit="results/zoo/fit/{model}.json",
        code=code_of_model("zoo.infer"),
    output:
        infer=temp("results/shards/zoo_infer/{model}/{scatteritem}.parquet"),
        record=temp("results/shards/zoo_infer/{model}/{scatteritem}.json"),
    log:
        "results/logs/zoo_infer/{model}/{scatteritem}.log",
    resources:
        gpu=gpu_of_model,
        mem_mb=16000,
        runtime=720,
    params:
        values=with_row("model", "zoo.embed", "zoo.bank", "nodules.cohort", "nodules.model"),
        paths=paths,
    shell:
        "python -m stages.zoo.infer --params {params.values:q} --model {wildcards.model} {params.paths}"
        " --shard {wildcards.scatteritem} --results results --work results/zoo/work/{wildcards.model}"
        " --cache results/zoo/kept 2>&1 | tee {log}"


rule zoo_infer:
    """Put the shards together, and their records."""
    input:
        shards=gather.shard("results/shards/zoo_infer/{{model}}/{scatteritem}.parquet"),
        records=gather.shard("results/shards/zoo_infer/{{model}}/{scatteritem}.json"),
        code=code("zoo.gather"),
    output:
        infer="results/zoo/infer/raw/{model}.parquet",
        record="results/zoo/infer/raw/{model}.json",
    log:
        "results/logs/zoo_infer/{model}.log",
    localrule: True
    params:
        paths=paths,
        asked=with_row("model", "zoo.embed", "zoo.bank", "nodules.cohort", "nodules.model"),
    shell:
        "python -m stages.zoo.gather --kind inferred {params.paths} 2>&1 | tee {log}"


rule zoo_calibrate:
    """Fit the scores of all rows to probabilities, in one form, as the study's: on validation alone."""
    input:
        raw=expand("results/zoo/infer/raw/{model}.parquet", model=MODELS),
        manifest="results/data/manifest.parquet",
        code=code("nodules.calibrate"),
    output:
        infer=expand("results/zoo/infer/{model}.parquet", model=MODELS),
        calibration=expand("results/zoo/infer/{model}_calibration.json", model=MODELS),
    log:
        "results/logs/zoo_calibrate.log",
    localrule: True
    params:
        values=section("nodules.calibrate", "nodules.cohort"),
        paths=paths,
    shell:
        "python -m stages.nodules.calibrate --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule zoo_select:
    """Choose one row by the rule of zoo.select: on validation alone, and by cost where precision does not decide."""
    input:
        infer=expand("results/zoo/infer/raw/{model}.parquet", model=MODELS),
        fits=expand("results/zoo/fit/{model}.json", model=MODELS),
        inferred=expand("results/zoo/infer/raw/{model}.json", model=MODELS),
        embedded=EMBEDDED,
        manifest="results/data/manifest.parquet",
        split="results/data/split.parquet",
        code=code("zoo.select"),
    output:
        choice="results/zoo/select.json",
    log:
        "results/logs/zoo_select.log",
    localrule: True
    params:
        values=section("zoo.select", "zoo.models", "nodules.cohort", "study"),
        paths=paths,
    shell:
        "python -m stages.zoo.select --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule zoo_localize:
    """Fit a localizer on marked training images of training patients, and let it find points."""
    input:
        tokens=of_localizer(tokens_of_localizer),
        embedded=of_localizer(embedded_of_localizer),
        weights=of_localizer(weights_of_localizer),
        manifest="results/data/manifest.parquet",
        normalized=of_localizer(lambda row: normalized_at(row["side_px"])),
        images=of_localizer(lambda row: images_at(row["side_px"])),
        split="results/data/split.parquet",
        points="results/data/points.parquet",
        code=code_of_trained("zoo.localize"),
    output:
        localize=f"{ZOO_FOUND}/{{zoo_localizer}}.parquet",
        responses=f"{ZOO_FOUND}/{{zoo_localizer}}_responses.parquet",
        record=f"{ZOO_FOUND}/{{zoo_localizer}}.json",
    log:
        "results/logs/zoo_localize/{zoo_localizer}.log",
    resources:
        gpu=of_localizer(lambda row: int(row["kind"] in ON_GPU)),
        mem_mb=8000,
        runtime=1440,
    params:
        values=with_row("zoo_localizer", "nodules.select", "nodules.tolerance"),
        paths=paths,
    shell:
        "python -m stages.zoo.localize --params {params.values:q} --localizer {wildcards.zoo_localizer} {params.paths}"
        " --results results --work results/zoo/work/{wildcards.zoo_localizer} 2>&1 | tee {log}"


rule zoo_measure:
    """Read the test labels, once for all rows: each number with its interval, and differences to the reference."""
    input:
        infer=expand("results/zoo/infer/{model}.parquet", model=MODELS),
        calibration=expand("results/zoo/infer/{model}_calibration.json", model=MODELS),
        fits=expand("results/zoo/fit/{model}.json", model=MODELS),
        inferred=expand("results/zoo/infer/raw/{model}.json", model=MODELS),
        embedded=EMBEDDED,
        choice="results/zoo/select.json",
        manifest="results/data/manifest.parquet",
        split="results/data/split.parquet",
        code=code("zoo.measure"),
    output:
        measures="results/zoo/measure/measures.parquet",
        curves="results/zoo/measure/curves.parquet",
        outcomes="results/zoo/measure/outcomes.parquet",
        notes="results/zoo/measure/notes.json",
    log:
        "results/logs/zoo_measure.log",
    localrule: True
    params:
        values=section("zoo.measure", "zoo.models", "nodules.cohort"),
        paths=paths,
    shell:
        "python -m stages.zoo.measure --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule zoo_section:
    """Say which model is worth its cost: one table, the rule and its outcome, what not to conclude."""
    input:
        measures="results/zoo/measure/measures.parquet",
        curves="results/zoo/measure/curves.parquet",
        notes="results/zoo/measure/notes.json",
        choice="results/zoo/select.json",
        code=code("zoo.section"),
    output:
        section="results/zoo/section.json",
    log:
        "results/logs/zoo_section.log",
    localrule: True
    params:
        values=section(*ZOO_SHOWN),
        paths=paths,
    shell:
        "python -m stages.zoo.section --params {params.values:q} {params.paths} 2>&1 | tee {log}"


use rule report as zoo_report with:
    input:
        sections="results/zoo/section.json",
        measures="results/zoo/measure/measures.parquet",
        notes="results/zoo/measure/notes.json",
        templates=TEMPLATES,
        code=code("report"),
    output:
        report="results/zoo/report.html",
        metrics="results/zoo/metrics.json",
        summary="results/zoo/summary.json",
    log:
        "results/logs/zoo_report.log",
    params:
        values=json.dumps({"report": ZOO["report"]}),
        paths=paths,


rule zoo_check:
    """Fail if a row failed, with what it failed by and the command that tries it again; the page stands by then."""
    input:
        fits=expand("results/zoo/fit/{model}.json", model=MODELS),
        inferred=expand("results/zoo/infer/raw/{model}.json", model=MODELS),
        embedded=EMBEDDED,
        localized=expand(f"{ZOO_FOUND}/{{zoo_localizer}}.json", zoo_localizer=USED_LOCALIZERS),
        weights=expand("results/weights/zoo/{source}.json", source=SOURCES),
        parts=expand("results/weights/zoo/{chexagent}_parts.json", chexagent=CHEXAGENTS),
        environments=OWN_ENVIRONMENTS,
        templates="results/zoo/report.html",
        code=code("zoo.check"),
    output:
        check="results/zoo/check.json",
    log:
        "results/logs/zoo_check.log",
    localrule: True
    params:
        paths=paths,
    shell:
        "python -m stages.zoo.check {params.paths} 2>&1 | tee {log}"


rule zoo:
    """The chapter's page and numbers."""
    input:
        "results/zoo/report.html",
        "results/zoo/metrics.json",
        "results/zoo/check.json",
    localrule: True
