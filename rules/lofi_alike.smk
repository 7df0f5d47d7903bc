"""Which training images of the nodule study are like one that is looked at? By the first encoder of the chapter lofi.

in   results/data/manifest.parquet  split.parquet: the study's
out  results/lofi/alike.parquet, and a gallery in the chapter's section
"""


use rule lofi_normalize_shard as lofi_normalize_alike_shard with:
    input:
        manifest="results/data/manifest.parquet",
        code=code("data.normalize"),
    output:
        folder=directory("results/lofi/normalized_alike/{scatteritem}"),
        normalized=temp("results/shards/lofi_normalize_alike/{scatteritem}.parquet"),
    log:
        "results/logs/lofi_normalize_alike/{scatteritem}.log",


use rule lofi_normalize as lofi_normalize_alike with:
    input:
        shards=gather.shard("results/shards/lofi_normalize_alike/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        out="results/lofi/normalized_alike.parquet",
    log:
        "results/logs/lofi_normalize_alike.log",


rule lofi_alike:
    """Find the training images that are like each image of the nodule study, where any is near enough."""
    input:
        split="results/data/split.parquet",
        manifest="results/data/manifest.parquet",
        normalized="results/lofi/normalized_alike.parquet",
        fetched=record_of(f"encoder_{ALIKE_BY}" if "model" in row_of("encoder", ALIKE_BY) else "encoder"),
        adapter=[path for path in [row_of("encoder", ALIKE_BY).get("adapter", "none")] if path != "none"],
        code=sorted({*code("lofi.alike"), *closure(f"{kinds.ENCODERS}.{row_of('encoder', ALIKE_BY)['kind']}")}),
    output:
        alike="results/lofi/alike.parquet",
        record="results/lofi/alike.json",
    log:
        "results/logs/lofi_alike.log",
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=720,
    params:
        values=alike_values,
        encoder=ALIKE_BY,
        paths=paths,
        adapter=adapter_option,
    shell:
        "python -m stages.lofi.alike --params {params.values:q} --encoder {params.encoder} {params.paths}"
        " {params.adapter} --results results --kept results/lofi/vectors 2>&1 | tee {log}"
