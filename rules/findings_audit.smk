"""Can the judges be trusted? Gold texts and answers are changed in a known way, and the judges rate them.

A target of its own, `snakemake findings_audit`, since it costs requests. It is no stage of dvc.yaml, as `dvc repro`
runs every stage that is there.

in   results/findings/  answers and ratings of the study
out  results/findings/audit/
"""

JUDGED = "results/findings/audit"


rule findings_audit:
    """The page of the judges' audits."""
    input:
        f"{JUDGED}/report.html",
    localrule: True


rule findings_audit_judge:
    """Ask a judge about answers that are changed in a known way, about the same again, and by other rubrics."""
    input:
        sample="results/findings/sample.parquet",
        case_images="results/findings/case_images.parquet",
        answers=answers_of(STUDY_ARMS),
        fetched=fetched_of_judge,
        fallback_fetched=fetched_of_fallback,
        rated="results/findings/judge/{judge}.parquet",  # so that both do not send the same request
        code=code_of_judge_audit,
        prompts=[*PROMPTS, *WORDS],
    output:
        judgements=f"{JUDGED}/judge/{{judge}}.parquet",
        timing=f"{JUDGED}/judge/{{judge}}_timing.json",
    log:
        "results/logs/findings_audit_judge/{judge}.log",
    resources:
        gpu=gpu_of("judge", LOCAL_JUDGES),
        mem_mb=8000,
        runtime=720,
    params:
        values=judge_audit_values,
        paths=paths,
        own=own_of("judge"),
    shell:
        "python -m stages.findings.audit --params {params.values:q} --judge {wildcards.judge} {params.paths}"
        " 2>&1 | tee {log}"


rule findings_audit_measure:
    """Measure each audit with its interval over cases, and say whether it passes."""
    input:
        sample="results/findings/sample.parquet",
        case_images="results/findings/case_images.parquet",
        answers=answers_of(STUDY_ARMS),
        audited=expand(f"{JUDGED}/judge/{{judge}}.parquet", judge=JUDGES),
        judged=expand("results/findings/judge/{judge}.parquet", judge=JUDGES),
        code=code("findings.audit_measure"),
        prompts=WORDS,
    output:
        measures=f"{JUDGED}/measures.parquet",
        audits=f"{JUDGED}/audits.json",
    log:
        "results/logs/findings_audit_measure.log",
    localrule: True
    params:
        values=section("findings.audit_measure", "findings.audit", "findings.judges"),
        paths=paths,
    shell:
        "python -m stages.findings.audit_measure --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule findings_audit_section:
    """Say what the page of the judges' audits shows: a line for each, and what was rated otherwise than expected."""
    input:
        measures=f"{JUDGED}/measures.parquet",
        audits=f"{JUDGED}/audits.json",
        sample="results/findings/sample.parquet",
        audited=expand(f"{JUDGED}/judge/{{judge}}.parquet", judge=JUDGES),
        code=code("findings.audit_section"),
        prompts=WORDS,
    output:
        section=f"{JUDGED}/section.json",
    log:
        "results/logs/findings_audit_section.log",
    localrule: True
    params:
        values=section("findings.audit", "findings.audit_measure", "findings.judges", "findings.ingest"),
        paths=paths,
    shell:
        "python -m stages.findings.audit_section --params {params.values:q} {params.paths} 2>&1 | tee {log}"


use rule report as findings_audit_report with:
    input:
        sections=f"{JUDGED}/section.json",
        measures=f"{JUDGED}/measures.parquet",
        notes=f"{JUDGED}/audits.json",
        templates=TEMPLATES,
        code=code("report"),
    output:
        report=f"{JUDGED}/report.html",
        metrics=f"{JUDGED}/metrics.json",
        summary=f"{JUDGED}/summary.json",
    log:
        "results/logs/findings_audit_report.log",
    params:
        values=json.dumps({"report": {"title": "Audits of the judges"}}),
        paths=paths,
