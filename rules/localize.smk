"""From images to points: each localizer is queried, its prompt chosen, its detections merged, all combined.

A localizer is a row of nodules.localizers. Prompts and cutoffs are chosen on images of nodules.select.splits, none of
them a test image; those of a localizer with an adapter, and of a combination with one, not on train images either.

in   results/data/  results/weights/
out  results/nodules/localize/{localizer}.parquet, its responses in {localizer}_responses.parquet, and what was chosen for
     it in {localizer}_choice.json and {localizer}_cutoff.json; combined.parquet, and cascade.parquet
"""

FOUND = "results/nodules/localize"
CASCADE = NODULES["cascade"]


rule nodules_select_shard:
    """Query with every prompt of the bank, on the images that choose."""
    input:
        base=base_of,
        fetched=fetched_of,
        environment=environment_of,
        adapter=adapter_of_localizer,
        table=table_of,
        manifest="results/data/manifest.parquet",
        normalized="results/data/normalized.parquet",
        images=gather.shard("results/data/normalized/{scatteritem}"),
        split="results/data/split.parquet",
        points="results/data/points.parquet",
        code=code_of_localizer,
    output:
        detections=temp("results/shards/nodules_select/{localizer}/{scatteritem}.parquet"),
        responses=temp("results/shards/nodules_select/{localizer}/{scatteritem}_responses.parquet"),
    log:
        "results/logs/nodules_select/{localizer}/{scatteritem}.log",
    resources:
        gpu=gpu_of_localizer,
        mem_mb=16000,
        runtime=1440,
    params:
        values=with_row(
            "localizer", "nodules.localize", "nodules.select", "nodules.model", images="choosing", views=["whole"]
        ),
        paths=paths,
    shell:
        "python -m stages.nodules.localize --params {params.values:q} --localizer {wildcards.localizer} {params.paths}"
        " --shard {wildcards.scatteritem} --results results --journals results/nodules/journals/{wildcards.localizer}"
        " 2>&1 | tee {log}"


rule nodules_select:
    """Choose the prompt that finds most and misses least, on images that are not test images."""
    input:
        detections=gather.shard("results/shards/nodules_select/{{localizer}}/{scatteritem}.parquet"),
        responses=gather.shard("results/shards/nodules_select/{{localizer}}/{scatteritem}_responses.parquet"),
        manifest="results/data/manifest.parquet",
        split="results/data/split.parquet",
        points="results/data/points.parquet",
        code=code("nodules.select"),
    output:
        choice=f"{FOUND}/{{localizer}}_choice.json",
    log:
        "results/logs/nodules_select/{localizer}.log",
    localrule: True
    params:
        values=with_row("localizer", "nodules.select", "nodules.tolerance"),
        paths=paths,
    shell:
        "python -m stages.nodules.select --params {params.values:q} --localizer {wildcards.localizer} {params.paths}"
        " 2>&1 | tee {log}"


use rule nodules_select_shard as nodules_localize_shard with:
    input:
        base=base_of,
        fetched=fetched_of,
        environment=environment_of,
        adapter=adapter_of_localizer,
        table=table_of,
        manifest="results/data/manifest.parquet",
        normalized="results/data/normalized.parquet",
        images=gather.shard("results/data/normalized/{scatteritem}"),
        split="results/data/split.parquet",
        points="results/data/points.parquet",
        choice=f"{FOUND}/{{localizer}}_choice.json",
        code=code_of_localizer,
    output:
        detections=temp("results/shards/nodules_localize/{localizer}/{scatteritem}.parquet"),
        responses=temp("results/shards/nodules_localize/{localizer}/{scatteritem}_responses.parquet"),
    log:
        "results/logs/nodules_localize/{localizer}/{scatteritem}.log",
    params:
        values=with_row("localizer", "nodules.localize", "nodules.select", "nodules.model", images=localized),
        paths=paths,


rule nodules_localize:
    """Merge what each prompt and view found, and choose from which confidence on a point is shown."""
    input:
        detections=gather.shard("results/shards/nodules_localize/{{localizer}}/{scatteritem}.parquet"),
        responses=gather.shard("results/shards/nodules_localize/{{localizer}}/{scatteritem}_responses.parquet"),
        manifest="results/data/manifest.parquet",
        split="results/data/split.parquet",
        points="results/data/points.parquet",
        code=code("nodules.merge"),
    output:
        localize=f"{FOUND}/{{localizer}}.parquet",
        all_responses=f"{FOUND}/{{localizer}}_responses.parquet",
        cutoff=f"{FOUND}/{{localizer}}_cutoff.json",
    log:
        "results/logs/nodules_localize/{localizer}.log",
    localrule: True
    params:
        values=with_row("localizer", "nodules.link", "nodules.select", "nodules.tolerance"),
        paths=paths,
    shell:
        "python -m stages.nodules.merge --params {params.values:q} --localizer {wildcards.localizer} {params.paths}"
        " 2>&1 | tee {log}"


rule nodules_combine:
    """Trust more what more localizers point at."""
    input:
        localize=expand(f"{FOUND}/{{localizer}}.parquet", localizer=LOCALIZERS),
        responses=expand(f"{FOUND}/{{localizer}}_responses.parquet", localizer=LOCALIZERS),
        cutoffs=expand(f"{FOUND}/{{localizer}}_cutoff.json", localizer=LOCALIZERS),
        manifest="results/data/manifest.parquet",
        split="results/data/split.parquet",
        points="results/data/points.parquet",
        code=code("nodules.combine"),
    output:
        combined=f"{FOUND}/combined.parquet",
        all_responses=f"{FOUND}/combined_responses.parquet",
        cutoff=f"{FOUND}/combined_cutoff.json",
    log:
        "results/logs/nodules_combine.log",
    localrule: True
    params:
        values=section("nodules.link", "nodules.select", "nodules.tolerance"),
        paths=paths,
    shell:
        "python -m stages.nodules.combine --params {params.values:q} {params.paths} 2>&1 | tee {log}"


rule nodules_cascade:
    """Keep points on images alone that a classifier takes for positive."""
    input:
        localize=f"{FOUND}/{CASCADE['localizer']}.parquet",
        responses=f"{FOUND}/{CASCADE['localizer']}_responses.parquet",
        infer=f"results/nodules/infer/{CASCADE['classifier']}.parquet",
        calibration=f"results/nodules/infer/{CASCADE['classifier']}_calibration.json",
        code=code("nodules.cascade"),
    output:
        cascade=f"{FOUND}/cascade.parquet",
        all_responses=f"{FOUND}/cascade_responses.parquet",
    log:
        "results/logs/nodules_cascade.log",
    localrule: True
    params:
        values=section("nodules.cascade"),
        paths=paths,
    shell:
        "python -m stages.nodules.cascade --params {params.values:q} {params.paths} 2>&1 | tee {log}"
