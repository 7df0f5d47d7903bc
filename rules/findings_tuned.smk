"""Is a model better when it is tuned on gold texts of cases that are not measured?

in   results/findings/
out  results/findings/train/  results/findings/tuned/report.html
"""


rule findings_train:
    """Fine-tune by low-rank adapters on the gold texts of cases that are not measured."""
    input:
        sample="results/findings/sample.parquet",
        case_images="results/findings/case_images.parquet",
        images=made(FINDINGS["ingest"]["root"]),
        base=f"results/weights/findings/{TEACHER}.json",
        code=code("findings.train"),
        prompts=PROMPTS,
    output:
        adapter=directory(TAUGHT),
        log="results/findings/train/train.json",
        curve="results/findings/train/curve.csv",
    log:
        "results/logs/findings_train.log",
    resources:
        gpu=1,
        mem_mb=24000,
        runtime=1440,
    params:
        values=teaching,
        paths=paths,
    shell:
        "python -m stages.findings.train --params {params.values:q} {params.paths}"
        " --checkpoints results/findings/checkpoints --live results/findings/live 2>&1 | tee {log}"


use rule findings_judge_shard as findings_tuned_judge_shard with:
    input:
        sample="results/findings/sample.parquet",
        case_images="results/findings/case_images.parquet",
        answers=answers_of(ARMS),
        fetched=fetched_of_judge,
        fallback_fetched=fetched_of_fallback,
        code=code_of_judge,
        prompts=[*PROMPTS, *WORDS],
    output:
        judgements=temp("results/shards/findings_tuned_judge/{judge}/{scatteritem}.parquet"),
        timing=temp("results/shards/findings_tuned_judge/{judge}/{scatteritem}_timing.json"),
    log:
        "results/logs/findings_tuned/judge/{judge}/{scatteritem}.log",


use rule findings_judge as findings_tuned_judge with:
    input:
        shards=gather.shard("results/shards/findings_tuned_judge/{{judge}}/{scatteritem}.parquet"),
        timings=gather.shard("results/shards/findings_tuned_judge/{{judge}}/{scatteritem}_timing.json"),
        code=code("findings.gather"),
    output:
        out="results/findings/tuned/judge/{judge}.parquet",
        timing="results/findings/tuned/judge/{judge}_timing.json",
    log:
        "results/logs/findings_tuned/judge/{judge}.log",
    params:
        paths=paths,
        asked=judge_values,
        own=own_of("judge"),
        arms=ARMS,


use rule findings_measure as findings_tuned_measure with:
    input:
        cases="results/findings/cases.parquet",
        case_images="results/findings/case_images.parquet",
        sample="results/findings/sample.parquet",
        sample_record="results/findings/sample.json",
        answers=answers_of(ARMS),
        timings=timings_of(ARMS, "results/findings/tuned/judge"),
        judgements=expand("results/findings/tuned/judge/{judge}.parquet", judge=JUDGES),
        code=code("findings.measure"),
        prompts=WORDS,
    output:
        measures="results/findings/tuned/measure/measures.parquet",
        outcomes="results/findings/tuned/measure/outcomes.parquet",
        findings="results/findings/tuned/measure/findings.parquet",
        notes="results/findings/tuned/measure/notes.json",
        flat="results/findings/tuned/metrics.csv",
    log:
        "results/logs/findings_tuned/measure.log",
    params:
        values=section("findings.measure", comparisons=[*COMPARED, *([name, TEACHER] for name in TUNED_ARMS)]),
        paths=paths_and(ratings=RATINGS),
        own=own_files(FINDINGS["measure"]),


use rule findings_section as findings_tuned_section with:
    input:
        cases="results/findings/cases.parquet",
        case_images="results/findings/case_images.parquet",
        sample="results/findings/sample.parquet",
        images=made(FINDINGS["ingest"]["root"]),
        answers=answers_of(ARMS),
        judgements=expand("results/findings/tuned/judge/{judge}.parquet", judge=JUDGES),
        measures="results/findings/tuned/measure/measures.parquet",
        findings="results/findings/tuned/measure/findings.parquet",
        notes="results/findings/tuned/measure/notes.json",
        code=code("findings.section"),
        prompts=PROMPTS,
    output:
        section="results/findings/tuned/section.json",
    log:
        "results/logs/findings_tuned/section.log",


use rule report as findings_tuned_report with:
    input:
        sections="results/findings/tuned/section.json",
        measures="results/findings/tuned/measure/measures.parquet",
        notes="results/findings/tuned/measure/notes.json",
        templates=TEMPLATES,
        code=code("report"),
    output:
        report="results/findings/tuned/report.html",
        metrics="results/findings/tuned/metrics.json",
        summary="results/findings/tuned/summary.json",
    log:
        "results/logs/findings_tuned/report.log",
    params:
        values=json.dumps({"report": FINDINGS["report"]}),
        paths=paths,


rule findings_tuned:
    """The page with the arms that have the trained adapter, beside the others and compared with the one that taught it."""
    input:
        "results/findings/tuned/report.html",
        "results/findings/tuned/metrics.json",
    localrule: True
