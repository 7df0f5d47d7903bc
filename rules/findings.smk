"""What does a model say it sees on CT and MR cases, and would a second judge agree?

An arm is a row of findings.arms: a model and how it is asked. A judge is a row of findings.judges. Requests that were
answered lie in the ledger and are never sent again: no rule names it, so that nothing deletes it.

in   findings.ingest.root: a folder in the layout of MedPix 2.0; the demo draws its own
out  results/findings/report.html  metrics.json, and a Parquet file per step
"""

if registry.has(config, "findings.simulate"):

    rule findings_simulate:
        """Draw CT and MR slices with known findings, and write the cases about them, in the layout of MedPix 2.0."""
        input:
            code=code("findings.simulate"),
        output:
            out=directory("results/findings/simulate"),
        log:
            "results/logs/findings_simulate.log",
        resources:
            mem_mb=1500,
            runtime=30,
        params:
            values=section("findings.simulate"),
            paths=paths,
        shell:
            "python -m stages.findings.simulate --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule findings_ingest:
    """Read every case and image once, and say all that is wrong with them."""
    input:
        images=made(FINDINGS["ingest"]["root"]),
        code=code("findings.ingest"),
    output:
        cases="results/findings/cases.parquet",
        case_images="results/findings/case_images.parquet",
    log:
        "results/logs/findings_ingest.log",
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        values=section("findings.ingest"),
        paths=paths,
        root=watched(FINDINGS["ingest"]["root"]),
    shell:
        "python -m stages.findings.ingest --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule findings_sample:
    """Draw the cases that are measured, stratified, and keep those that teach or stand as examples apart from them."""
    input:
        cases="results/findings/cases.parquet",
        case_images="results/findings/case_images.parquet",
        code=code("findings.sample"),
    output:
        sample="results/findings/sample.parquet",
        record="results/findings/sample.json",
    log:
        "results/logs/findings_sample.log",
    localrule: True
    params:
        values=section("findings.sample"),
        paths=paths,
        file=files.fingerprint(FINDINGS["sample"]["file"]),
    shell:
        "python -m stages.findings.sample --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule findings_fetch_encoder:
    """Find a retriever's frozen encoder."""
    input:
        images=model_made("retriever"),
        code=code("weights.fetch_encoder"),
    output:
        out="results/weights/findings/retrievers/{retriever}.json",
    log:
        "results/logs/findings_fetch_encoder/{retriever}.log",
    wildcard_constraints:
        retriever="|".join(OF_IMAGES) or NONE,
    localrule: True
    params:
        values=with_row("retriever"),
        paths=paths,
        base=model_watched("retriever"),
    shell:
        "python -m stages.weights.fetch_encoder --params {params.values:q} --retriever {wildcards.retriever}"
        " {params.paths} 2>&1 | tee {log}"


rule findings_retrieve:
    """Find the cases that are most like each case, among those that are not measured."""
    input:
        sample="results/findings/sample.parquet",
        case_images="results/findings/case_images.parquet",
        images=made(FINDINGS["ingest"]["root"]),
        fetched=encoder_of,
        neighbours=dealt_out,
        code=code_of_retriever,
    output:
        retrieved="results/findings/retrieve/{retriever}.parquet",
    log:
        "results/logs/findings_retrieve/{retriever}.log",
    resources:
        gpu=gpu_of("retriever", OF_IMAGES),
        mem_mb=8000,
        runtime=240,
    params:
        values=with_row("retriever"),
        paths=paths,
    shell:
        "python -m stages.findings.retrieve --params {params.values:q} --retriever {wildcards.retriever} {params.paths}"
        " --features results/findings/features 2>&1 | tee {log}"


rule findings_fetch:
    """Find the model of an arm that runs in process, and the right to use it."""
    input:
        images=model_made("arm"),
        code=code("weights.fetch_row"),
    output:
        out="results/weights/findings/{arm}.json",
    log:
        "results/logs/findings_fetch/{arm}.log",
    wildcard_constraints:
        arm="|".join(IN_PROCESS) or NONE,
    localrule: True
    params:
        values=model_of("arm"),
        paths=paths,
        base=model_watched("arm"),
    shell:
        "python -m stages.weights.fetch_row --params {params.values:q} {params.paths} 2>&1 | tee {log}"


use rule findings_fetch as findings_fetch_judge with:
    input:
        images=model_made("judge"),
        code=code("weights.fetch_row"),
    output:
        out="results/weights/findings/judges/{judge}.json",
    log:
        "results/logs/findings_fetch_judge/{judge}.log",
    wildcard_constraints:
        judge="|".join(LOCAL_JUDGES) or NONE,
    params:
        values=model_of("judge"),
        paths=paths,
        base=model_watched("judge"),


rule findings_answer_shard:
    """Ask an arm about each case; what the ledger has is not asked again."""
    input:
        sample="results/findings/sample.parquet",
        case_images="results/findings/case_images.parquet",
        images=made(FINDINGS["ingest"]["root"]),
        fetched=fetched_of_arm,
        adapter=taught_of,
        after=after_of,
        retrieved=retrieved_of,
        code=code_of_arm,
        prompts=[*PROMPTS, *WORDS],
    output:
        answers=temp("results/shards/findings_answer/{arm}/{scatteritem}.parquet"),
        timing=temp("results/shards/findings_answer/{arm}/{scatteritem}_timing.json"),
    log:
        "results/logs/findings_answer/{arm}/{scatteritem}.log",
    resources:
        gpu=gpu_of("arm", IN_PROCESS),
        mem_mb=16000,
        runtime=1440,
    params:
        values=with_row("arm"),
        paths=paths,
        own=own_of("arm"),
    shell:
        "python -m stages.findings.answer --params {params.values:q} --arm {wildcards.arm} {params.paths}"
        " --shard {wildcards.scatteritem} 2>&1 | tee {log}"


rule findings_answer:
    """Put the shards together."""
    input:
        shards=gather.shard("results/shards/findings_answer/{{arm}}/{scatteritem}.parquet"),
        timings=gather.shard("results/shards/findings_answer/{{arm}}/{scatteritem}_timing.json"),
        code=code("findings.gather"),
    output:
        out="results/findings/answer/{arm}.parquet",
        timing="results/findings/answer/{arm}_timing.json",
    log:
        "results/logs/findings_answer/{arm}.log",
    localrule: True
    params:
        paths=paths,
        asked=with_row("arm"),  # shards are not kept: one that failed leaves no record that it was asked anew
        own=own_of("arm"),
    shell:
        "python -m stages.findings.gather --table answers {params.paths} 2>&1 | tee {log}"


rule findings_judge_shard:
    """Have one judge rate the answers of all arms, blind to the arm and in a shuffled order."""
    input:
        sample="results/findings/sample.parquet",
        case_images="results/findings/case_images.parquet",
        answers=answers_of(STUDY_ARMS),
        fetched=fetched_of_judge,
        fallback_fetched=fetched_of_fallback,
        code=code_of_judge,
        prompts=[*PROMPTS, *WORDS],
    output:
        judgements=temp("results/shards/findings_judge/{judge}/{scatteritem}.parquet"),
        timing=temp("results/shards/findings_judge/{judge}/{scatteritem}_timing.json"),
    log:
        "results/logs/findings_judge/{judge}/{scatteritem}.log",
    resources:
        gpu=gpu_of("judge", LOCAL_JUDGES),
        mem_mb=8000,
        runtime=720,
    params:
        values=judge_values,
        paths=paths,
        own=own_of("judge"),
    shell:
        "python -m stages.findings.judge --params {params.values:q} --judge {wildcards.judge} {params.paths}"
        " --shard {wildcards.scatteritem} 2>&1 | tee {log}"


rule findings_judge:
    """Put the shards together."""
    input:
        shards=gather.shard("results/shards/findings_judge/{{judge}}/{scatteritem}.parquet"),
        timings=gather.shard("results/shards/findings_judge/{{judge}}/{scatteritem}_timing.json"),
        code=code("findings.gather"),
    output:
        out="results/findings/judge/{judge}.parquet",
        timing="results/findings/judge/{judge}_timing.json",
    log:
        "results/logs/findings_judge/{judge}.log",
    localrule: True
    params:
        paths=paths,
        asked=judge_values,  # as above
        own=own_of("judge"),
        arms=STUDY_ARMS,
    shell:
        "python -m stages.findings.gather --table judgements {params.paths} 2>&1 | tee {log}"


rule findings_measure:
    """Measure every arm and judge, each number with its interval over cases."""
    input:
        cases="results/findings/cases.parquet",
        case_images="results/findings/case_images.parquet",
        sample="results/findings/sample.parquet",
        sample_record="results/findings/sample.json",
        answers=answers_of(STUDY_ARMS),
        timings=timings_of(STUDY_ARMS, "results/findings/judge"),
        judgements=expand("results/findings/judge/{judge}.parquet", judge=JUDGES),
        code=code("findings.measure"),
        prompts=WORDS,
    output:
        measures="results/findings/measure/measures.parquet",
        outcomes="results/findings/measure/outcomes.parquet",
        findings="results/findings/measure/findings.parquet",
        notes="results/findings/measure/notes.json",
        flat="results/findings/metrics.csv",
    log:
        "results/logs/findings_measure.log",
    localrule: True
    params:
        values=section("findings.measure"),
        paths=paths_and(ratings=RATINGS),
        own=own_files(FINDINGS["measure"]),
    shell:
        "python -m stages.findings.measure --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule findings_section:
    """Say what the chapter shows: arms, verdicts, judges, costs, and each case with its images and answers."""
    input:
        cases="results/findings/cases.parquet",
        case_images="results/findings/case_images.parquet",
        sample="results/findings/sample.parquet",
        images=made(FINDINGS["ingest"]["root"]),
        answers=answers_of(STUDY_ARMS),
        judgements=expand("results/findings/judge/{judge}.parquet", judge=JUDGES),
        measures="results/findings/measure/measures.parquet",
        findings="results/findings/measure/findings.parquet",
        notes="results/findings/measure/notes.json",
        code=code("findings.section"),
        prompts=PROMPTS,
    output:
        section="results/findings/section.json",
    log:
        "results/logs/findings_section.log",
    localrule: True
    params:
        values=section(*FINDINGS_SHOWN),
        paths=paths,
    shell:
        "python -m stages.findings.section --params {params.values:q} {params.paths} 2>&1 | tee {log}"


use rule report as findings_report with:
    input:
        sections="results/findings/section.json",
        measures="results/findings/measure/measures.parquet",
        notes="results/findings/measure/notes.json",
        templates=TEMPLATES,
        code=code("report"),
    output:
        report="results/findings/report.html",
        metrics="results/findings/metrics.json",
        summary="results/findings/summary.json",
    log:
        "results/logs/findings_report.log",
    params:
        values=json.dumps({"report": FINDINGS["report"]}),
        paths=paths,


rule findings:
    """The chapter's page and numbers."""
    input:
        "results/findings/report.html",
        "results/findings/metrics.json",
    localrule: True


rule findings_rescore:
    """The same from the answers on disk, with what has changed of judges, rubrics, vocabulary and metrics."""
    input:
        "results/findings/report.html",
        "results/findings/metrics.json",
    localrule: True
