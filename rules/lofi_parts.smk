"""Retrieval alone, or grounding alone: the chapter's rules on a part of its systems, with a page of its own.

in   results/lofi/
out  results/lofi/retrieval/report.html  results/lofi/grounding/report.html
"""


use rule lofi_measure as lofi_retrieval_measure with:
    input:
        manifest="results/lofi/manifest.parquet",
        pairs="results/lofi/pairs.parquet",
        ranks=expand("results/lofi/retrieve/{encoder}.parquet", encoder=ENCODERS),
        records=expand("results/lofi/embed/{encoder}.json", encoder=ENCODERS),
        code=code("lofi.measure"),
    output:
        measures="results/lofi/retrieval/measures.parquet",
        outcomes="results/lofi/retrieval/outcomes.parquet",
        notes="results/lofi/retrieval/notes.json",
        flat="results/lofi/retrieval/metrics.csv",
    log:
        "results/logs/lofi_retrieval/measure.log",
    params:
        values=section("lofi.measure", compared_grounders=[]),
        paths=paths,


use rule lofi_section as lofi_retrieval_section with:
    input:
        manifest="results/lofi/manifest.parquet",
        normalized="results/lofi/normalized.parquet",
        pairs="results/lofi/pairs.parquet",
        ranks=expand("results/lofi/retrieve/{encoder}.parquet", encoder=ENCODERS),
        measures="results/lofi/retrieval/measures.parquet",
        notes="results/lofi/retrieval/notes.json",
        code=code("lofi.section"),
    output:
        section="results/lofi/retrieval/section.json",
    log:
        "results/logs/lofi_retrieval/section.log",


use rule lofi_report as lofi_retrieval_report with:
    input:
        sections="results/lofi/retrieval/section.json",
        measures="results/lofi/retrieval/measures.parquet",
        notes="results/lofi/retrieval/notes.json",
        templates=TEMPLATES,
        code=code("report"),
    output:
        report="results/lofi/retrieval/report.html",
        metrics="results/lofi/retrieval/metrics.json",
        summary="results/lofi/retrieval/summary.json",
    log:
        "results/logs/lofi_retrieval/report.log",


rule lofi_retrieval:
    """The page of retrieval alone."""
    input:
        "results/lofi/retrieval/report.html",
        "results/lofi/retrieval/metrics.json",
    localrule: True


use rule lofi_measure as lofi_grounding_measure with:
    input:
        manifest="results/lofi/manifest.parquet",
        pairs="results/lofi/pairs.parquet",
        grounded=expand("results/lofi/ground/{grounder}.parquet", grounder=GROUNDERS),
        code=code("lofi.measure"),
    output:
        measures="results/lofi/grounding/measures.parquet",
        outcomes="results/lofi/grounding/outcomes.parquet",
        notes="results/lofi/grounding/notes.json",
        flat="results/lofi/grounding/metrics.csv",
    log:
        "results/logs/lofi_grounding/measure.log",
    params:
        values=section("lofi.measure", compared_encoders=[]),
        paths=paths,


use rule lofi_section as lofi_grounding_section with:
    input:
        manifest="results/lofi/manifest.parquet",
        normalized="results/lofi/normalized.parquet",
        pairs="results/lofi/pairs.parquet",
        grounded=expand("results/lofi/ground/{grounder}.parquet", grounder=GROUNDERS),
        measures="results/lofi/grounding/measures.parquet",
        notes="results/lofi/grounding/notes.json",
        code=code("lofi.section"),
    output:
        section="results/lofi/grounding/section.json",
    log:
        "results/logs/lofi_grounding/section.log",


use rule lofi_report as lofi_grounding_report with:
    input:
        sections="results/lofi/grounding/section.json",
        measures="results/lofi/grounding/measures.parquet",
        notes="results/lofi/grounding/notes.json",
        templates=TEMPLATES,
        code=code("report"),
    output:
        report="results/lofi/grounding/report.html",
        metrics="results/lofi/grounding/metrics.json",
        summary="results/lofi/grounding/summary.json",
    log:
        "results/logs/lofi_grounding/report.log",


rule lofi_grounding:
    """The page of grounding alone."""
    input:
        "results/lofi/grounding/report.html",
        "results/lofi/grounding/metrics.json",
    localrule: True


rule lofi_export:
    """Write the encoder with its adapter merged, as a folder that plain transformers load, and the adapters alone."""
    input:
        adapter=LOFI_ADAPTER,
        train="results/lofi/train/train.json",
        encoder=record_of("encoder"),
        decoder=record_of("decoder"),
        code=code("lofi.export"),
    output:
        export=directory("results/lofi/export"),
    log:
        "results/logs/lofi_export.log",
    resources:
        mem_mb=16000,
        runtime=60,
    params:
        values=section("lofi.export", "lofi.model"),
        paths=paths,
        adapter=adapter_option,
    shell:
        "python -m stages.lofi.export --params {params.values:q} {params.paths} {params.adapter} 2>&1 | tee {log}"
