"""Which representation knows where a sentence speaks of, and does a model ground sentences by retrieved examples?

An encoder is a row of lofi.encoders, a grounder a row of lofi.grounders: both are rows, and each is a job of its own.

in   lofi.ingest.root: images with sentences and boxes; the demo draws its own
out  results/lofi/report.html  metrics.json, and a Parquet file per step
"""

if registry.has(config, "lofi.simulate"):

    rule lofi_simulate:
        """Draw chest images with findings, the sentences of a report, and the boxes that they speak of."""
        input:
            code=code("lofi.simulate"),
        output:
            out=directory("results/lofi/simulate"),
        log:
            "results/logs/lofi_simulate.log",
        threads: 8
        resources:
            mem_mb=3000,
            runtime=60,
        params:
            values=section("lofi.simulate"),
            paths=paths,
        shell:
            "python -m stages.lofi.simulate --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule lofi_ingest:
    """Read every image, sentence and box once, and say all that is wrong with them."""
    input:
        images=made(LOFI["ingest"]["root"]),
        code=code("lofi.ingest"),
    output:
        manifest="results/lofi/manifest.parquet",
        sentences="results/lofi/sentences.parquet",
        boxes="results/lofi/boxes.parquet",
        given_split="results/lofi/given_split.parquet",
        duplicates="results/lofi/duplicates.parquet",
    log:
        "results/logs/lofi_ingest.log",
    resources:
        mem_mb=8000,
        runtime=720,
    params:
        values=section("lofi.ingest"),
        paths=paths,
        root=watched(LOFI["ingest"]["root"]),
    shell:
        "python -m stages.lofi.ingest --params {params.values:q} {params.paths} --cache results/lofi/cache"
        " 2>&1 | tee {log}"


rule lofi_normalize_shard:
    """Normalize each image to the square that the encoders see, by the function that the study's images pass, too."""
    input:
        manifest="results/lofi/manifest.parquet",
        code=code("data.normalize"),
    output:
        folder=directory("results/lofi/normalized/{scatteritem}"),
        normalized=temp("results/shards/lofi_normalize/{scatteritem}.parquet"),
    log:
        "results/logs/lofi_normalize/{scatteritem}.log",
    resources:
        mem_mb=3000,
        runtime=720,
    params:
        values=json.dumps({"data": {"normalize": LOFI["normalize"]}}),
        paths=paths,
    shell:
        "python -m stages.data.normalize --params {params.values:q} {params.paths} --results results"
        " --shard {wildcards.scatteritem} 2>&1 | tee {log}"


rule lofi_normalize:
    """Put the shards together."""
    input:
        shards=gather.shard("results/shards/lofi_normalize/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        out="results/lofi/normalized.parquet",
    log:
        "results/logs/lofi_normalize.log",
    localrule: True
    params:
        paths=paths,
        asked=json.dumps(LOFI["normalize"]),
    shell:
        "python -m stages.data.gather --table normalized {params.paths} 2>&1 | tee {log}"


rule lofi_pair:
    """Pair images with sentences: fuse the boxes of a sentence, split by patient, cut reports into parts."""
    input:
        manifest="results/lofi/manifest.parquet",
        sentences="results/lofi/sentences.parquet",
        boxes="results/lofi/boxes.parquet",
        given_split="results/lofi/given_split.parquet",
        code=code("lofi.pair"),
    output:
        pairs="results/lofi/pairs.parquet",
    log:
        "results/logs/lofi_pair.log",
    localrule: True
    params:
        values=section("lofi.pair"),
        paths=paths,
    shell:
        "python -m stages.lofi.pair --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule lofi_fetch:
    """Find a model that the chapter names, and the right to use it."""
    input:
        images=lofi_made,
        code=code("weights.fetch_model"),
    output:
        out="results/weights/lofi/{lofi_model}.json",
    log:
        "results/logs/lofi_fetch/{lofi_model}.log",
    wildcard_constraints:
        lofi_model="|".join(LOFI_MODELS),
    localrule: True
    params:
        values=lofi_model_values,
        named=lofi_model_keys,
        wants=WHOLE_MODEL,
        paths=paths,
        base=lofi_watched,
    shell:
        "python -m stages.weights.fetch_model --params {params.values:q} --keys {params.named} --wants {params.wants}"
        " {params.paths} 2>&1 | tee {log}"


rule lofi_train:
    """Teach the encoder which sentences belong to an image, and, through a small language model, where they speak of."""
    input:
        pairs="results/lofi/pairs.parquet",
        manifest="results/lofi/manifest.parquet",
        normalized="results/lofi/normalized.parquet",
        encoder=record_of("encoder"),
        decoder=record_of("decoder"),
        adapter=train_from,
        code=code("lofi.train"),
    output:
        adapter=directory(LOFI_ADAPTER),
        log="results/lofi/train/train.json",
        curve="results/lofi/train/curve.csv",
    log:
        "results/logs/lofi_train.log",
    resources:
        gpu=1,
        mem_mb=32000,
        runtime=5760,
    params:
        values=section("lofi.train", "lofi.model"),
        paths=paths,
        live="results/lofi/live",
    shell:
        "python -m stages.lofi.train --params {params.values:q} {params.paths} --results results"
        " --checkpoints results/lofi/checkpoints/train --live {params.live} 2>&1 | tee {log}"


rule lofi_embed:
    """Embed images and parts of reports by one encoder."""
    input:
        pairs="results/lofi/pairs.parquet",
        normalized="results/lofi/normalized.parquet",
        fetched=encoder_record,
        adapter=encoder_adapter,
        code=code_of_encoder,
    output:
        images="results/lofi/embed/{encoder}_images.parquet",
        texts="results/lofi/embed/{encoder}_texts.parquet",
        record="results/lofi/embed/{encoder}.json",
    log:
        "results/logs/lofi_embed/{encoder}.log",
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=720,
    params:
        values=with_row("encoder", "lofi.embed"),
        paths=paths,
        adapter=adapter_option,
    shell:
        "python -m stages.lofi.embed --params {params.values:q} --encoder {wildcards.encoder} {params.paths}"
        " {params.adapter}"
        " --results results --kept results/lofi/vectors 2>&1 | tee {log}"


rule lofi_retrieve:
    """Rank what belongs together among all, and find the training images that are like each image."""
    input:
        image_vectors="results/lofi/embed/{encoder}_images.parquet",
        text_vectors="results/lofi/embed/{encoder}_texts.parquet",
        pairs="results/lofi/pairs.parquet",
        manifest="results/lofi/manifest.parquet",
        code=code("lofi.retrieve"),
    output:
        ranks="results/lofi/retrieve/{encoder}.parquet",
        neighbours="results/lofi/neighbours/{encoder}.parquet",
    log:
        "results/logs/lofi_retrieve/{encoder}.log",
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        values=section("lofi.retrieve"),
        paths=paths,
    shell:
        "python -m stages.lofi.retrieve --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule lofi_tune:
    """Fine-tune the decoder to write the boxes of a sentence, from the base or from what was learned before."""
    input:
        pairs="results/lofi/pairs.parquet",
        manifest="results/lofi/manifest.parquet",
        normalized="results/lofi/normalized.parquet",
        encoder=record_of("encoder"),
        decoder=record_of("decoder"),
        adapter=tuned_from,
        code=code("lofi.tune"),
    output:
        adapter=directory("results/lofi/tune/{grounder}/adapter"),
        log="results/lofi/tune/{grounder}/tune.json",
        curve="results/lofi/tune/{grounder}/curve.csv",
    log:
        "results/logs/lofi_tune/{grounder}.log",
    wildcard_constraints:
        grounder="|".join(TUNED) or NONE,
    resources:
        gpu=1,
        mem_mb=32000,
        runtime=2880,
    params:
        values=with_row("grounder", "lofi.tune", "lofi.model"),
        paths=paths,
    shell:
        "python -m stages.lofi.tune --params {params.values:q} --grounder {wildcards.grounder} {params.paths}"
        " --results results --checkpoints results/lofi/checkpoints/tune --features results/lofi/features 2>&1 | tee {log}"


rule lofi_ground:
    """Ask a grounder for the boxes of sentences, with their own images and with images that say nothing of them."""
    input:
        pairs="results/lofi/pairs.parquet",
        manifest="results/lofi/manifest.parquet",
        normalized="results/lofi/normalized.parquet",
        neighbours=neighbours_of,
        base=grounder_base,
        decoder=grounder_decoder,
        adapter=grounder_adapter,
        code=code_of_grounder,
    output:
        grounded="results/lofi/ground/{grounder}.parquet",
        conversations="results/lofi/ground/{grounder}_conversations.jsonl",
    log:
        "results/logs/lofi_ground/{grounder}.log",
    resources:
        gpu=gpu_of_grounder,
        mem_mb=16000,
        runtime=1440,
    params:
        values=with_row("grounder", "lofi.ground", "lofi.model"),
        paths=paths,
        adapter=adapter_option,
    shell:
        "python -m stages.lofi.ground --params {params.values:q} --grounder {wildcards.grounder} {params.paths}"
        " {params.adapter}"
        " --results results --features results/lofi/features 2>&1 | tee {log}"


rule lofi_measure:
    """Measure retrieval and grounding with intervals over patients, against chance and against blind rows."""
    input:
        manifest="results/lofi/manifest.parquet",
        pairs="results/lofi/pairs.parquet",
        ranks=expand("results/lofi/retrieve/{encoder}.parquet", encoder=ENCODERS),
        records=expand("results/lofi/embed/{encoder}.json", encoder=ENCODERS),
        grounded=expand("results/lofi/ground/{grounder}.parquet", grounder=GROUNDERS),
        code=code("lofi.measure"),
    output:
        measures="results/lofi/measure/measures.parquet",
        outcomes="results/lofi/measure/outcomes.parquet",
        notes="results/lofi/measure/notes.json",
        flat="results/lofi/metrics.csv",
    log:
        "results/logs/lofi_measure.log",
    localrule: True
    params:
        values=section("lofi.measure"),
        paths=paths,
    shell:
        "python -m stages.lofi.measure --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule lofi_section:
    """Say what the chapter shows: retrieval beside chance, grounding beside blind rows, queries and boxes."""
    input:
        **SIMILAR,
        manifest="results/lofi/manifest.parquet",
        normalized="results/lofi/normalized.parquet",
        pairs="results/lofi/pairs.parquet",
        ranks=expand("results/lofi/retrieve/{encoder}.parquet", encoder=ENCODERS),
        grounded=expand("results/lofi/ground/{grounder}.parquet", grounder=GROUNDERS),
        measures="results/lofi/measure/measures.parquet",
        notes="results/lofi/measure/notes.json",
        code=code("lofi.section"),
    output:
        section="results/lofi/section.json",
    log:
        "results/logs/lofi_section.log",
    localrule: True
    params:
        values=section(*LOFI_SHOWN),
        paths=paths,
    shell:
        "python -m stages.lofi.section --params {params.values:q} {params.paths} --results results 2>&1 | tee {log}"


use rule report as lofi_report with:
    input:
        sections="results/lofi/section.json",
        measures="results/lofi/measure/measures.parquet",
        notes="results/lofi/measure/notes.json",
        templates=TEMPLATES,
        code=code("report"),
    output:
        report="results/lofi/report.html",
        metrics="results/lofi/metrics.json",
        summary="results/lofi/summary.json",
    log:
        "results/logs/lofi_report.log",
    params:
        values=json.dumps({"report": LOFI["report"]}),
        paths=paths,


rule lofi:
    """The chapter's page and numbers."""
    input:
        "results/lofi/report.html",
        "results/lofi/metrics.json",
    localrule: True
