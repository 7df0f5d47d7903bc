"""From the base model to an adapter.

in   fetch.base: a local folder or a model of the hub; results/normalized.parquet  results/split.parquet
out  results/fetch.json  results/train/
"""


rule fetch:
    """Find the base model, and the right to use it, before any GPU is asked for."""
    input:
        base=made(config["fetch"]["base"]),
        code=code("weights.fetch"),
    output:
        base="results/fetch.json",
    log:
        "results/logs/fetch.log",
    localrule: True
    params:
        values=section("fetch"),
        files=watched(config["fetch"]["base"]),
    shell:
        "python -m stages.weights.fetch --params {params.values:q} --out {output.base} 2>&1 | tee {log}"


rule train:
    """Fine-tune the quantized base by low-rank adapters on balanced, rotating epochs."""
    input:
        base="results/fetch.json",
        manifest="results/manifest.parquet",
        normalized="results/normalized.parquet",
        pngs=gather.part("results/normalized/{scatteritem}"),
        split="results/split.parquet",
        code=code("nodules.train"),
    output:
        adapter=directory("results/train/adapter"),
        log="results/train/train.json",
        curve="results/train/curve.csv",
    log:
        "results/logs/train.log",
    resources:
        gpu=1,
        mem_mb=24000,
        runtime=2880,
    params:
        values=section("train", "model", "prompt"),
    shell:
        "python -m stages.nodules.train --params {params.values:q} --base {input.base} --manifest {input.manifest}"
        " --normalized {input.normalized} --split {input.split} --results results"
        " --checkpoints results/checkpoints --features results/features --live results/live --adapter {output.adapter} --log {output.log}"
        " --curve {output.curve} 2>&1 | tee {log}"
