"""From a folder of unlabelled images and a trained adapter to the challenge's two files.

The same rules as the study's, on other images. The adapter and its calibration are read where predict.adapter and
predict.calibration say, and never made: no training artifact is touched.

in   predict.root  predict.adapter  predict.calibration  predict.localize  results/weights/
out  results/predict/submission/  results/predict/unanswered.csv  results/predict/objects/
"""

PREDICT = config["predict"]
PREDICTED = "results/predict/localize"
ROW = PREDICT["model"]  # of the zoo; none: the classifier of the submission
SCORED = (
    f"results/predict/raw/{SUBMIT['classifier']}.parquet" if ROW == "none" else f"results/predict/zoo/raw/{ROW}.parquet"
)
CALIBRATION = PREDICT["calibration"] if ROW == "none" else f"results/zoo/infer/{ROW}_calibration.json"
ASKED_BEHIND = [SUBMIT["classifier"]] if ROW == "none" else classifiers_behind(ROW)
ADAPTER_BEHIND = [PREDICT["adapter"]] if any(adapted(name, SUBMIT["localizer"]) for name in ASKED_BEHIND) else []
SUBMITTED = expand("results/predict/submission/{task}_test_results.csv", task=["classification", "localization"])
OBJECTS = "results/predict/objects"
ASKED = [*(SUBMITTED if "csv" in PREDICT["outputs"] else []), *([OBJECTS] if {*PREDICT["outputs"]} - {"csv"} else [])]
LIMITS = ("root", "layout", "accept", "max_rejected", "max_pixels")  # of ingest, that predict has for itself


rule predict:
    """What predict.outputs names for the images of predict.root, and which of them have no answer."""
    input:
        "results/predict/unanswered.csv",
        ASKED,
    localrule: True


use rule data_ingest as predict_ingest with:
    input:
        images=made(PREDICT["root"]),
        code=code("data.ingest"),
    output:
        manifest="results/predict/manifest.parquet",
        points="results/predict/points.parquet",
        files="results/predict/files.parquet",
        duplicates="results/predict/duplicates.parquet",
    log:
        "results/logs/predict/ingest.log",
    params:
        values=section("data.ingest", **{name: PREDICT[name] for name in LIMITS}),
        paths=paths,
        root=watched(PREDICT["root"]),


rule predict_list:
    """List the images that get no answer, each with the reason."""
    input:
        manifest="results/predict/manifest.parquet",
        code=code("nodules.unanswered"),
    output:
        unanswered="results/predict/unanswered.csv",
    log:
        "results/logs/predict/list.log",
    localrule: True
    params:
        paths=paths,
    shell:
        "python -m stages.nodules.unanswered {params.paths} 2>&1 | tee {log}"


use rule data_normalize_shard as predict_normalize_shard with:
    input:
        manifest="results/predict/manifest.parquet",
        code=code("data.normalize"),
    output:
        folder=directory("results/predict/normalized/{scatteritem}"),
        normalized=temp("results/shards/predict_normalize/{scatteritem}.parquet"),
    log:
        "results/logs/predict/normalize/{scatteritem}.log",


use rule data_normalize as predict_normalize with:
    input:
        shards=gather.shard("results/shards/predict_normalize/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        out="results/predict/normalized.parquet",
    log:
        "results/logs/predict/normalize.log",


use rule nodules_infer_shard as predict_infer_shard with:
    input:
        base="results/weights/fetch.json",
        normalized="results/predict/normalized.parquet",
        images=gather.shard("results/predict/normalized/{scatteritem}"),
        code=code_of_classifier,
    output:
        infer=temp("results/shards/predict_infer/{classifier}/{scatteritem}.parquet"),
    log:
        "results/logs/predict/infer/{classifier}/{scatteritem}.log",
    params:
        values=with_row(
            "classifier", "nodules.infer", "nodules.model", "nodules.prompt", row={"adapter": PREDICT["adapter"]}
        ),
        paths=paths,
        given=files.fingerprint(PREDICT["adapter"]),


use rule nodules_infer as predict_infer with:
    input:
        shards=gather.shard("results/shards/predict_infer/{{classifier}}/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        out="results/predict/raw/{classifier}.parquet",
    log:
        "results/logs/predict/infer/{classifier}.log",
    params:
        paths=paths,
        asked=with_row("classifier", "nodules.infer", "nodules.model", "nodules.prompt"),
        given=files.fingerprint(PREDICT["adapter"]),


use rule nodules_infer_points as predict_infer_points with:
    input:
        localize=points_of("", PREDICTED),
        responses=points_of("_responses", PREDICTED),
        code=code("nodules.infer_points"),
    output:
        infer="results/predict/raw/{classifier}.parquet",
    log:
        "results/logs/predict/infer/{classifier}.log",


use rule nodules_calibrate as predict_calibrate with:
    input:
        raw=SCORED,
        code=code("nodules.calibrate"),
    output:
        infer="results/predict/infer.parquet",
    log:
        "results/logs/predict/calibrate.log",
    params:
        values=section("nodules.calibrate", "nodules.cohort"),
        paths=paths_and(fitted=[CALIBRATION]),
        given=files.fingerprint(CALIBRATION),


use rule nodules_localize_shard as predict_localize_shard with:
    input:
        base=base_of,
        fetched=fetched_of,
        environment=environment_of,
        manifest="results/predict/manifest.parquet",
        normalized="results/predict/normalized.parquet",
        images=gather.shard("results/predict/normalized/{scatteritem}"),
        code=code_of_localizer,
    output:
        detections=temp("results/shards/predict_localize/{localizer}/{scatteritem}.parquet"),
        responses=temp("results/shards/predict_localize/{localizer}/{scatteritem}_responses.parquet"),
    log:
        "results/logs/predict/localize/{localizer}/{scatteritem}.log",
    params:
        values=with_row(
            "localizer", "nodules.localize", "nodules.select", "nodules.model", row={"adapter": PREDICT["adapter"]}
        ),
        paths=paths_and(choice=chosen("choice", "{localizer}")),
        given=files.fingerprint(PREDICT["localize"]),
        adapter=given_adapter,


use rule nodules_localize as predict_localize with:
    input:
        detections=gather.shard("results/shards/predict_localize/{{localizer}}/{scatteritem}.parquet"),
        responses=gather.shard("results/shards/predict_localize/{{localizer}}/{scatteritem}_responses.parquet"),
        manifest="results/predict/manifest.parquet",
        code=code("nodules.merge"),
    output:
        localize=f"{PREDICTED}/{{localizer}}.parquet",
        all_responses=f"{PREDICTED}/{{localizer}}_responses.parquet",
    log:
        "results/logs/predict/localize/{localizer}.log",
    params:
        values=with_row("localizer", "nodules.link", "nodules.select", "nodules.tolerance"),
        paths=paths_and(fitted=chosen("cutoff", "{localizer}")),
        given=files.fingerprint(PREDICT["localize"]),


use rule nodules_combine as predict_combine with:
    input:
        localize=expand(f"{PREDICTED}/{{localizer}}.parquet", localizer=LOCALIZERS),
        responses=expand(f"{PREDICTED}/{{localizer}}_responses.parquet", localizer=LOCALIZERS),
        manifest="results/predict/manifest.parquet",
        code=code("nodules.combine"),
    output:
        combined=f"{PREDICTED}/combined.parquet",
        all_responses=f"{PREDICTED}/combined_responses.parquet",
    log:
        "results/logs/predict/combine.log",
    params:
        values=section("nodules.link", "nodules.select", "nodules.tolerance"),
        paths=paths_and(fitted=chosen("cutoff", "combined"), cutoffs=chosen("cutoff", *LOCALIZERS)),
        given=files.fingerprint(PREDICT["localize"]),


use rule nodules_cascade as predict_cascade with:
    input:
        localize=f"{PREDICTED}/{CASCADE['localizer']}.parquet",
        responses=f"{PREDICTED}/{CASCADE['localizer']}_responses.parquet",
        infer="results/predict/infer.parquet",
        code=code("nodules.cascade"),
    output:
        cascade=f"{PREDICTED}/cascade.parquet",
        all_responses=f"{PREDICTED}/cascade_responses.parquet",
    log:
        "results/logs/predict/cascade.log",
    params:
        values=section("nodules.cascade"),
        paths=paths_and(calibration=[CALIBRATION]),
        given=files.fingerprint(CALIBRATION),


use rule nodules_submit as predict_submit with:
    input:
        manifest="results/predict/manifest.parquet",
        infer="results/predict/infer.parquet",
        localize=f"{PREDICTED}/{SUBMIT['localizer']}.parquet",
        unanswered=["results/predict/unanswered.csv"] if PREDICT["list_rejected"] else [],
        code=code("nodules.submit"),
    output:
        classification="results/predict/submission/classification_test_results.csv",
        localization="results/predict/submission/localization_test_results.csv",
    log:
        "results/logs/predict/submit.log",
    params:
        values=section("nodules.submit"),
        paths=paths_and(calibration=[CALIBRATION]),
        given=files.fingerprint(CALIBRATION),


rule predict_export:
    """Write what was said of each image as files of its own, and for DICOM images as DICOM objects."""
    input:
        manifest="results/predict/manifest.parquet",
        normalized="results/predict/normalized.parquet",
        infer="results/predict/infer.parquet",
        localize=f"{PREDICTED}/{SUBMIT['localizer']}.parquet",
        base="results/weights/fetch.json",
        code=code("nodules.export"),
    output:
        folder=directory(OBJECTS),
    log:
        "results/logs/predict/export.log",
    localrule: True
    params:
        values=section("nodules.submit"),
        paths=paths_and(calibration=[CALIBRATION], adapter_folder=ADAPTER_BEHIND),
        given=[files.fingerprint(path) for path in (CALIBRATION, *ADAPTER_BEHIND)],
        outputs=PREDICT["outputs"],
    shell:
        "python -m stages.nodules.export --params {params.values:q} {params.paths} --outputs {params.outputs}"
        " 2>&1 | tee {log}"
