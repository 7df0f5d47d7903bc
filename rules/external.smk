"""Other data, measured with the study's frozen model, calibration and thresholds: nothing is chosen on them.

The same rules as the study's, on each folder of data.external.roots.

in   data.external.roots  results/nodules/
out  results/data/external/{external}/  results/nodules/external/{external}/infer/{classifier}.parquet
"""

OUTSIDE = "results/data/external/{external}"
MEASURED_THERE = "results/nodules/external/{external}"


use rule data_ingest as data_ingest_external with:
    input:
        images=external_images,
        code=code("data.ingest"),
    output:
        manifest=f"{OUTSIDE}/manifest.parquet",
        points=f"{OUTSIDE}/points.parquet",
        files=f"{OUTSIDE}/files.parquet",
        duplicates=f"{OUTSIDE}/duplicates.parquet",
    log:
        "results/logs/data_ingest_external/{external}.log",
    params:
        values=external_section,
        paths=paths,
        root=external_watched,


use rule data_normalize_shard as data_normalize_external_shard with:
    input:
        manifest=f"{OUTSIDE}/manifest.parquet",
        code=code("data.normalize"),
    output:
        folder=directory(f"{OUTSIDE}/normalized/{{scatteritem}}"),
        normalized=temp("results/shards/data_normalize_external/{external}/{scatteritem}.parquet"),
    log:
        "results/logs/data_normalize_external/{external}/{scatteritem}.log",


use rule data_normalize as data_normalize_external with:
    input:
        shards=gather.shard("results/shards/data_normalize_external/{{external}}/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        out=f"{OUTSIDE}/normalized.parquet",
    log:
        "results/logs/data_normalize_external/{external}.log",


use rule nodules_infer_shard as nodules_infer_external_shard with:
    input:
        base="results/weights/fetch.json",
        normalized=f"{OUTSIDE}/normalized.parquet",
        images=gather.shard(f"{OUTSIDE.replace('{external}', '{{external}}')}/normalized/{{scatteritem}}"),
        adapter=adapter_of,
        code=code_of_classifier,
    output:
        infer=temp("results/shards/nodules_infer_external/{external}/{classifier}/{scatteritem}.parquet"),
    log:
        "results/logs/nodules_infer_external/{external}/{classifier}/{scatteritem}.log",


use rule nodules_infer as nodules_infer_external with:
    input:
        shards=gather.shard("results/shards/nodules_infer_external/{{external}}/{{classifier}}/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        out=f"{MEASURED_THERE}/raw/{{classifier}}.parquet",
    log:
        "results/logs/nodules_infer_external/{external}/{classifier}.log",


use rule nodules_infer_points as nodules_infer_points_external with:
    input:
        localize=points_of("", f"{MEASURED_THERE}/localize"),
        responses=points_of("_responses", f"{MEASURED_THERE}/localize"),
        code=code("nodules.infer_points"),
    output:
        infer=f"{MEASURED_THERE}/raw/{{classifier}}.parquet",
    log:
        "results/logs/nodules_infer_external/{external}/{classifier}.log",


use rule nodules_calibrate as nodules_calibrate_external with:
    input:
        raw=expand(f"{MEASURED_THERE}/raw/{{classifier}}.parquet", classifier=CLASSIFIERS, allow_missing=True),
        fitted=expand("results/nodules/infer/{classifier}_calibration.json", classifier=CLASSIFIERS),
        code=code("nodules.calibrate"),
    output:
        infer=expand(f"{MEASURED_THERE}/infer/{{classifier}}.parquet", classifier=CLASSIFIERS, allow_missing=True),
    log:
        "results/logs/nodules_calibrate_external/{external}.log",
    params:
        values=section("nodules.calibrate", "nodules.cohort"),
        paths=paths,


use rule nodules_localize_shard as nodules_localize_external_shard with:
    input:
        base=base_of,
        fetched=fetched_of,
        environment=environment_of,
        manifest=f"{OUTSIDE}/manifest.parquet",
        normalized=f"{OUTSIDE}/normalized.parquet",
        images=gather.shard(f"{OUTSIDE.replace('{external}', '{{external}}')}/normalized/{{scatteritem}}"),
        choice=f"{FOUND}/{{localizer}}_choice.json",
        code=code_of_localizer,
    output:
        detections=temp("results/shards/nodules_localize_external/{external}/{localizer}/{scatteritem}.parquet"),
        responses=temp(
            "results/shards/nodules_localize_external/{external}/{localizer}/{scatteritem}_responses.parquet"
        ),
    log:
        "results/logs/nodules_localize_external/{external}/{localizer}/{scatteritem}.log",
    params:
        values=with_row("localizer", "nodules.localize", "nodules.select", "nodules.model"),
        paths=paths,


use rule nodules_localize as nodules_localize_external with:
    input:
        detections=gather.shard(
            "results/shards/nodules_localize_external/{{external}}/{{localizer}}/{scatteritem}.parquet"
        ),
        responses=gather.shard(
            "results/shards/nodules_localize_external/{{external}}/{{localizer}}/{scatteritem}_responses.parquet"
        ),
        manifest=f"{OUTSIDE}/manifest.parquet",
        fitted=f"{FOUND}/{{localizer}}_cutoff.json",
        code=code("nodules.merge"),
    output:
        localize=f"{MEASURED_THERE}/localize/{{localizer}}.parquet",
        all_responses=f"{MEASURED_THERE}/localize/{{localizer}}_responses.parquet",
    log:
        "results/logs/nodules_localize_external/{external}/{localizer}.log",


use rule nodules_combine as nodules_combine_external with:
    input:
        localize=expand(f"{MEASURED_THERE}/localize/{{localizer}}.parquet", localizer=LOCALIZERS, allow_missing=True),
        responses=expand(
            f"{MEASURED_THERE}/localize/{{localizer}}_responses.parquet", localizer=LOCALIZERS, allow_missing=True
        ),
        cutoffs=expand(f"{FOUND}/{{localizer}}_cutoff.json", localizer=LOCALIZERS),
        manifest=f"{OUTSIDE}/manifest.parquet",
        fitted=f"{FOUND}/combined_cutoff.json",
        code=code("nodules.combine"),
    output:
        combined=f"{MEASURED_THERE}/localize/combined.parquet",
        all_responses=f"{MEASURED_THERE}/localize/combined_responses.parquet",
    log:
        "results/logs/nodules_combine_external/{external}.log",
