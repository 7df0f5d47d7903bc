"""From a folder of images to normalized squares and a split.

in   ingest.root: a folder in the challenge's layout, or a bare folder of images
out  results/manifest.parquet  results/points.parquet  results/normalized.parquet  results/split.parquet
"""


rule ingest:
    """Read every image and label once, and say all that is wrong with them."""
    input:
        root=made(config["ingest"]["root"]),
        code=code("data.ingest"),
    output:
        manifest="results/manifest.parquet",
        points="results/points.parquet",
    log:
        "results/logs/ingest.log",
    threads: 2
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        values=section("ingest"),
        images=watched(config["ingest"]["root"]),
    shell:
        "python -m stages.data.ingest --params {params.values:q}"
        " --manifest {output.manifest} --points {output.points} 2>&1 | tee {log}"


rule normalize_part:
    """Clip each image to its own percentiles and make it a square of the model's size."""
    input:
        manifest="results/manifest.parquet",
        code=code("data.normalize"),
    output:
        pngs=directory("results/normalized/{scatteritem}"),
        normalized=temp("results/parts/normalized/{scatteritem}.parquet"),
    log:
        "results/logs/normalize/{scatteritem}.log",
    resources:
        mem_mb=1500,
        runtime=120,
    params:
        values=section("normalize"),
    shell:
        "python -m stages.data.normalize --params {params.values:q} --manifest {input.manifest} --part {wildcards.scatteritem}"
        " --results results --folder {output.pngs} --normalized {output.normalized} 2>&1 | tee {log}"


rule normalize:
    """Put the parts' tables together."""
    input:
        parts=gather.part("results/parts/normalized/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        normalized="results/normalized.parquet",
    log:
        "results/logs/normalize.log",
    localrule: True
    shell:
        "python -m stages.data.gather --table normalized --parts {input.parts} --out {output.normalized} 2>&1 | tee {log}"


rule split:
    """Give each patient, never an image, to train, validation or test."""
    input:
        manifest="results/manifest.parquet",
        code=code("data.split"),
    output:
        split="results/split.parquet",
    log:
        "results/logs/split.log",
    localrule: True
    params:
        values=section("split"),
    shell:
        "python -m stages.data.split --params {params.values:q} --manifest {input.manifest} --split {output.split}"
        " 2>&1 | tee {log}"
