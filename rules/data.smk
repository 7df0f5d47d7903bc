"""From a folder of images to normalized squares and a split.

in   data.ingest.root: a folder in the challenge's layout, or a bare folder of images; the demo draws its own
out  results/data/manifest.parquet  points.parquet  normalized.parquet  split.parquet
"""

if registry.has(config, "data.simulate"):

    rule data_simulate:
        """Draw synthetic images with nodules at exactly known places, in the layout of the challenge's data."""
        input:
            code=code("data.simulate"),
        output:
            out=directory("results/data/simulate"),
        log:
            "results/logs/data_simulate.log",
        threads: 2
        resources:
            mem_mb=1500,
            runtime=30,
        params:
            values=section("data.simulate"),
            paths=paths,
        shell:
            "python -m stages.data.simulate --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule data_ingest:
    """Read every image and label once, and say all that is wrong with them."""
    input:
        images=made(config["data"]["ingest"]["root"]),
        code=code("data.ingest"),
    output:
        manifest="results/data/manifest.parquet",
        points="results/data/points.parquet",
        files="results/data/files.parquet",
        duplicates="results/data/duplicates.parquet",
    log:
        "results/logs/data_ingest.log",
    threads: 2
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        values=section("data.ingest"),
        paths=paths,
        root=watched(config["data"]["ingest"]["root"]),
    shell:
        "python -m stages.data.ingest --params {params.values:q} {params.paths} --cache .snakemake/noduleflow/ingest"
        " 2>&1 | tee {log}"


rule data_check:
    """See that images of both classes are labelled, before anything costly begins."""
    input:
        manifest="results/data/manifest.parquet",
        code=code("data.check"),
    output:
        check="results/data/check.json",
    log:
        "results/logs/data_check.log",
    localrule: True
    params:
        values=section("nodules.cohort"),
        paths=paths,
    shell:
        "python -m stages.data.check --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule data_normalize_shard:
    """Clip each image to its own percentiles and make it a square of the model's size."""
    input:
        manifest="results/data/manifest.parquet",
        checked=ancient("results/data/check.json"),
        code=code("data.normalize"),
    output:
        folder=directory("results/data/normalized/{scatteritem}"),
        normalized=temp("results/shards/data_normalize/{scatteritem}.parquet"),
    log:
        "results/logs/data_normalize/{scatteritem}.log",
    resources:
        mem_mb=1500,
        runtime=120,
    params:
        values=section("data.normalize"),
        paths=paths,
    shell:
        "python -m stages.data.normalize --params {params.values:q} {params.paths} --shard {wildcards.scatteritem}"
        " --results results 2>&1 | tee {log}"


rule data_normalize:
    """Put the shards' tables together."""
    input:
        shards=gather.shard("results/shards/data_normalize/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        out="results/data/normalized.parquet",
    log:
        "results/logs/data_normalize.log",
    localrule: True
    params:
        paths=paths,
        asked=section("data.normalize"),  # shards are not kept: one that failed leaves no record that it was asked anew
    shell:
        "python -m stages.data.gather --table normalized {params.paths} 2>&1 | tee {log}"


rule data_split:
    """Give each patient, never an image, to train, validation or test."""
    input:
        manifest="results/data/manifest.parquet",
        code=code("data.split"),
    output:
        split="results/data/split.parquet",
    log:
        "results/logs/data_split.log",
    localrule: True
    params:
        values=section("data.split"),
        paths=paths,
        file=files.fingerprint(config["data"]["split"]["file"]),
    shell:
        "python -m stages.data.split --params {params.values:q} {params.paths} 2>&1 | tee {log}"
