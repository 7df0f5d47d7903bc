"""Does a classifier look at the nodule, or at a shortcut? Images are changed, labels shuffled, prompts reworded.

A target of its own, `snakemake nodules_audit`: it asks each model some forty times about each image of a sample, and
trains once more. It is no stage of dvc.yaml, since `dvc repro` runs every stage that is there.

in   results/data/  results/weights/fetch.json  results/nodules/infer/  results/nodules/train/adapter
out  results/nodules/audit/
"""

AUDIT = "results/nodules/audit"
SHUFFLED = f"{AUDIT}/shuffled/adapter"
RETRAINED = TUNED if NODULES["audit"]["shuffled_training"] else []
ASKED = [name for name in CLASSIFIERS if name not in RANKED]  # what is asked about images, and not a localizer's points


rule nodules_audit:
    """The page of the audits."""
    input:
        f"{AUDIT}/report.html",
    localrule: True


rule nodules_audit_score_shard:
    """Ask a classifier about changed images, and about the same images in other words."""
    input:
        base="results/weights/fetch.json",
        manifest="results/data/manifest.parquet",
        normalized="results/data/normalized.parquet",
        images=gather.shard("results/data/normalized/{scatteritem}"),
        split="results/data/split.parquet",
        points="results/data/points.parquet",
        adapter=adapter_of,
        code=code_of_audit,
    output:
        scores=temp("results/shards/nodules_audit/{classifier}/{scatteritem}.parquet"),
    log:
        "results/logs/nodules_audit_score/{classifier}/{scatteritem}.log",
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=720,
    params:
        values=with_row(
            "classifier", "nodules.audit", "nodules.cohort", "nodules.infer", "nodules.model", "nodules.prompt"
        ),
        paths=paths,
    shell:
        "python -m stages.nodules.audit_score --params {params.values:q} --classifier {wildcards.classifier}"
        " {params.paths} --shard {wildcards.scatteritem} --results results 2>&1 | tee {log}"


rule nodules_audit_score:
    """Put the shards of the changed images' scores together."""
    input:
        shards=gather.shard("results/shards/nodules_audit/{{classifier}}/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        out=f"{AUDIT}/scores/{{classifier}}.parquet",
    log:
        "results/logs/nodules_audit_score/{classifier}.log",
    localrule: True
    params:
        paths=paths,
        asked=with_row(
            "classifier", "nodules.audit", "nodules.cohort", "nodules.infer", "nodules.model", "nodules.prompt"
        ),
    shell:
        "python -m stages.data.gather --table audit {params.paths} 2>&1 | tee {log}"


rule nodules_audit_shuffle:
    """Permute the labels of training and validation images by patient."""
    input:
        manifest="results/data/manifest.parquet",
        split="results/data/split.parquet",
        code=code("nodules.audit_shuffle"),
    output:
        shuffled=f"{AUDIT}/shuffled/split.parquet",
    log:
        "results/logs/nodules_audit_shuffle.log",
    localrule: True
    params:
        values=section("nodules.audit", "nodules.cohort"),
        paths=paths,
    shell:
        "python -m stages.nodules.audit_shuffle --params {params.values:q} {params.paths} 2>&1 | tee {log}"


use rule nodules_train as nodules_audit_shuffled_train with:
    input:
        base="results/weights/fetch.json",
        manifest="results/data/manifest.parquet",
        normalized="results/data/normalized.parquet",
        images=gather.shard("results/data/normalized/{scatteritem}"),
        split=f"{AUDIT}/shuffled/split.parquet",
        code=code("nodules.train"),
    output:
        adapter=directory(SHUFFLED),
        log=f"{AUDIT}/shuffled/train.json",
        curve=f"{AUDIT}/shuffled/curve.csv",
    log:
        "results/logs/nodules_audit_shuffled_train.log",
    params:
        values=section("nodules.train", "nodules.cohort", "nodules.model", "nodules.prompt"),
        paths=paths,
        live="results/nodules/live_shuffled",


use rule nodules_infer_shard as nodules_audit_shuffled_infer_shard with:
    input:
        base="results/weights/fetch.json",
        normalized="results/data/normalized.parquet",
        images=gather.shard("results/data/normalized/{scatteritem}"),
        split="results/data/split.parquet",
        adapter=SHUFFLED,
        code=code_of_classifier,
    output:
        infer=temp("results/shards/nodules_audit_shuffled/{classifier}/{scatteritem}.parquet"),
    log:
        "results/logs/nodules_audit_shuffled_infer/{classifier}/{scatteritem}.log",
    params:
        values=with_row(
            "classifier",
            "nodules.infer",
            "nodules.model",
            "nodules.prompt",
            row={"adapter": SHUFFLED},
            splits=["test"],
        ),
        paths=paths,


use rule nodules_infer_other_form as nodules_audit_shuffled_infer with:
    input:
        shards=gather.shard("results/shards/nodules_audit_shuffled/{{classifier}}/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        out=f"{AUDIT}/shuffled/{{classifier}}.parquet",
    log:
        "results/logs/nodules_audit_shuffled_infer/{classifier}.log",


rule nodules_audit_measure:
    """Measure each audit with its interval over patients, and say whether it passes."""
    input:
        manifest="results/data/manifest.parquet",
        normalized="results/data/normalized.parquet",
        split="results/data/split.parquet",
        scores=expand(f"{AUDIT}/scores/{{classifier}}.parquet", classifier=ASKED),
        infer=expand("results/nodules/infer/{classifier}.parquet", classifier=ASKED),
        calibration=expand("results/nodules/infer/{classifier}_calibration.json", classifier=ASKED),
        shuffled=expand(f"{AUDIT}/shuffled/{{classifier}}.parquet", classifier=RETRAINED),
        code=code("nodules.audit_measure"),
    output:
        measures=f"{AUDIT}/measures.parquet",
        curves=f"{AUDIT}/curves.parquet",
        audits=f"{AUDIT}/audits.json",
    log:
        "results/logs/nodules_audit_measure.log",
    localrule: True
    params:
        values=section(
            "nodules.audit_measure", "nodules.audit", "nodules.cohort", "nodules.prompt", "nodules.classifiers"
        ),
        paths=paths,
    shell:
        "python -m stages.nodules.audit_measure --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule nodules_audit_section:
    """Say what the page of the audits shows: a line for each, curves, and changed images."""
    input:
        measures=f"{AUDIT}/measures.parquet",
        curves=f"{AUDIT}/curves.parquet",
        audits=f"{AUDIT}/audits.json",
        manifest="results/data/manifest.parquet",
        normalized="results/data/normalized.parquet",
        images=gather.shard("results/data/normalized/{scatteritem}"),
        points="results/data/points.parquet",
        scores=expand(f"{AUDIT}/scores/{{classifier}}.parquet", classifier=ASKED[:1]),
        code=code("nodules.audit_section"),
    output:
        section=f"{AUDIT}/section.json",
    log:
        "results/logs/nodules_audit_section.log",
    localrule: True
    params:
        values=section(
            "nodules.audit", "nodules.audit_measure", "nodules.section", "nodules.classifiers", "data.ingest"
        ),
        paths=paths,
    shell:
        "python -m stages.nodules.audit_section --params {params.values:q} {params.paths} --results results"
        " 2>&1 | tee {log}"


use rule report as nodules_audit_report with:
    input:
        sections=f"{AUDIT}/section.json",
        measures=f"{AUDIT}/measures.parquet",
        notes=f"{AUDIT}/audits.json",
        templates=TEMPLATES,
        code=code("report"),
    output:
        report=f"{AUDIT}/report.html",
        metrics=f"{AUDIT}/metrics.json",
        summary=f"{AUDIT}/summary.json",
    log:
        "results/logs/nodules_audit_report.log",
    params:
        values=section("report", title="Shortcut audits"),
        paths=paths,
