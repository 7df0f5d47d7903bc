"""What does each part of the training do? The chapter's own rules with one change each, over several seeds.

in   results/lofi/
out  results/lofi/ablations/{variant}/{seed}/  results/lofi/ablations/report.html
"""


use rule lofi_train as lofi_ablation_train with:
    output:
        adapter=directory(f"{ABLATED}/adapter"),
        log=f"{ABLATED}/train.json",
        curve=f"{ABLATED}/curve.csv",
    log:
        "results/logs/lofi_ablations/{variant}/{seed}/train.log",
    params:
        values=ablated("train", "model"),
        paths=paths,
        live=f"{ABLATED}/live",


use rule lofi_embed as lofi_ablation_embed with:
    input:
        pairs="results/lofi/pairs.parquet",
        normalized="results/lofi/normalized.parquet",
        fetched=record_of("encoder"),
        adapter=f"{ABLATED}/adapter",
        code=sorted({*code("lofi.embed"), *closure(f"{kinds.ENCODERS}.lofi")}),
    output:
        images=f"{ABLATED}/{{encoder}}_images.parquet",
        texts=f"{ABLATED}/{{encoder}}_texts.parquet",
        record=f"{ABLATED}/{{encoder}}.json",
    log:
        "results/logs/lofi_ablations/{variant}/{seed}/embed_{encoder}.log",
    wildcard_constraints:
        encoder="encoder",
    params:
        values=ablated("embed", encoders={"encoder": {"kind": "lofi", "adapter": "OWN/adapter"}}),
        paths=paths,
        adapter=adapter_option,


use rule lofi_retrieve as lofi_ablation_retrieve with:
    input:
        image_vectors=f"{ABLATED}/{{encoder}}_images.parquet",
        text_vectors=f"{ABLATED}/{{encoder}}_texts.parquet",
        pairs="results/lofi/pairs.parquet",
        manifest="results/lofi/manifest.parquet",
        code=code("lofi.retrieve"),
    output:
        ranks=f"{ABLATED}/retrieve/{{encoder}}.parquet",
        neighbours=f"{ABLATED}/neighbours/{{encoder}}.parquet",
    log:
        "results/logs/lofi_ablations/{variant}/{seed}/retrieve_{encoder}.log",
    wildcard_constraints:
        encoder="encoder",


use rule lofi_tune as lofi_ablation_tune with:
    input:
        pairs="results/lofi/pairs.parquet",
        manifest="results/lofi/manifest.parquet",
        normalized="results/lofi/normalized.parquet",
        encoder=record_of("encoder"),
        decoder=record_of("decoder"),
        adapter=f"{ABLATED}/adapter",
        code=code("lofi.tune"),
    output:
        adapter=directory(f"{ABLATED}/tune/{{grounder}}/adapter"),
        log=f"{ABLATED}/tune/{{grounder}}/tune.json",
        curve=f"{ABLATED}/tune/{{grounder}}/curve.csv",
    log:
        "results/logs/lofi_ablations/{variant}/{seed}/tune_{grounder}.log",
    params:
        values=ablated("tune", "model", grounders=ASKED),
        paths=paths,


use rule lofi_ground as lofi_ablation_ground with:
    input:
        pairs="results/lofi/pairs.parquet",
        manifest="results/lofi/manifest.parquet",
        normalized="results/lofi/normalized.parquet",
        base=record_of("encoder"),
        decoder=record_of("decoder"),
        adapter=f"{ABLATED}/tune/{{grounder}}/adapter",
        code=code_of_grounder,
    output:
        grounded=f"{ABLATED}/ground/{{grounder}}.parquet",
        conversations=f"{ABLATED}/ground/{{grounder}}_conversations.jsonl",
    log:
        "results/logs/lofi_ablations/{variant}/{seed}/ground_{grounder}.log",
    params:
        values=ablated("ground", "model", grounders=ASKED),
        paths=paths,
        adapter=adapter_option,


use rule lofi_measure as lofi_ablation_measure with:
    input:
        manifest="results/lofi/manifest.parquet",
        pairs="results/lofi/pairs.parquet",
        ranks=f"{ABLATED}/retrieve/encoder.parquet",
        records=f"{ABLATED}/encoder.json",
        grounded=[f"{ABLATED}/ground/{grounder}.parquet" for grounder in ASKED],
        code=code("lofi.measure"),
    output:
        measures=f"{ABLATED}/measure/measures.parquet",
        outcomes=f"{ABLATED}/measure/outcomes.parquet",
        notes=f"{ABLATED}/measure/notes.json",
        flat=f"{ABLATED}/metrics.csv",
    log:
        "results/logs/lofi_ablations/{variant}/{seed}/measure.log",
    params:
        values=alone,
        paths=paths,


rule lofi_ablate:
    """Mean and spread of every variant over the seeds, and what lies between it and the chapter as it is."""
    input:
        measures=expand("results/lofi/ablations/{run}/measure/measures.parquet", run=RUNS),
        code=code("lofi.ablate"),
    output:
        ablations="results/lofi/ablations/measure/measures.parquet",
        notes="results/lofi/ablations/measure/notes.json",
    log:
        "results/logs/lofi_ablate.log",
    localrule: True
    params:
        runs=RUNS,
        paths=paths,
    shell:
        "python -m stages.lofi.ablate {params.paths} --runs {params.runs} 2>&1 | tee {log}"


rule lofi_ablation_section:
    """Say what each part of the training does: one table, one plot."""
    input:
        ablations="results/lofi/ablations/measure/measures.parquet",
        code=code("lofi.ablation_section"),
    output:
        section="results/lofi/ablations/section.json",
    log:
        "results/logs/lofi_ablation_section.log",
    localrule: True
    params:
        values=section("lofi.ablations", "lofi.train", "lofi.model", "lofi.tune"),
        paths=paths,
    shell:
        "python -m stages.lofi.ablation_section --params {params.values:q} {params.paths} 2>&1 | tee {log}"


use rule report as lofi_ablation_report with:
    input:
        sections="results/lofi/ablations/section.json",
        measures="results/lofi/ablations/measure/measures.parquet",
        notes="results/lofi/ablations/measure/notes.json",
        templates=TEMPLATES,
        code=code("report"),
    output:
        report="results/lofi/ablations/report.html",
        metrics="results/lofi/ablations/metrics.json",
        summary="results/lofi/ablations/summary.json",
    log:
        "results/logs/lofi_ablation_report.log",
    params:
        values=json.dumps({"report": LOFI["report"]}),
        paths=paths,


rule lofi_ablations:
    """The page of the ablations."""
    input:
        "results/lofi/ablations/report.html",
        "results/lofi/ablations/metrics.json",
    localrule: True
