"""From a folder of unlabelled films and a trained adapter to the challenge's two files.

The same rules as the study's, on other films. The adapter and its calibration are read where predict.adapter and
predict.calibration say, and never made: no training artifact is touched.

in   predict.root  predict.adapter  predict.calibration  results/fetch.json
out  results/predict/submission/
"""


rule predict:
    """The challenge's two files for the films of predict.root."""
    input:
        "results/predict/submission/classification_test_results.csv",
        "results/predict/submission/localization_test_results.csv",
    localrule: True


use rule ingest as predict_ingest with:
    input:
        root=made(config["predict"]["root"]),
        code=code("ingest"),
    output:
        manifest="results/predict/manifest.parquet",
        points="results/predict/points.parquet",
    log:
        "results/logs/predict/ingest.log",
    params:
        values=section("ingest", root=config["predict"]["root"]),
        films=watched(config["predict"]["root"]),


use rule normalize_part as predict_normalize_part with:
    input:
        manifest="results/predict/manifest.parquet",
        code=code("normalize"),
    output:
        pngs=directory("results/predict/normalized/{scatteritem}"),
        normalized=temp("results/parts/predict_normalized/{scatteritem}.parquet"),
    log:
        "results/logs/predict/normalize/{scatteritem}.log",


use rule normalize as predict_normalize with:
    input:
        parts=gather.part("results/parts/predict_normalized/{scatteritem}.parquet"),
        code=code("gather"),
    output:
        normalized="results/predict/normalized.parquet",
    log:
        "results/logs/predict/normalize.log",


use rule infer_zero_shot_part as predict_infer_part with:
    input:
        base="results/fetch.json",
        normalized="results/predict/normalized.parquet",
        pngs=gather.part("results/predict/normalized/{scatteritem}"),
        code=code("infer"),
    output:
        infer=temp("results/parts/predict_infer/{scatteritem}.parquet"),
    log:
        "results/logs/predict/infer/{scatteritem}.log",
    params:
        values=section("infer", "model", "prompt"),
        given=f"--adapter {quote(config['predict']['adapter'])}",
        adapter=study.fingerprint(config["predict"]["adapter"]),


use rule infer_zero_shot as predict_infer with:
    input:
        parts=gather.part("results/parts/predict_infer/{scatteritem}.parquet"),
        manifest="results/predict/manifest.parquet",
        code=code("calibrate"),
    output:
        infer="results/predict/infer.parquet",
    log:
        "results/logs/predict/infer.log",
    params:
        values=section("calibrate"),
        given=f"--fitted {quote(config['predict']['calibration'])}",
        calibration=study.fingerprint(config["predict"]["calibration"]),


use rule localize_medgemma_part as predict_localize_part with:
    input:
        base="results/fetch.json",
        manifest="results/predict/manifest.parquet",
        normalized="results/predict/normalized.parquet",
        pngs=gather.part("results/predict/normalized/{scatteritem}"),
        code=code("localize"),
    output:
        localize=temp("results/parts/predict_localize/{scatteritem}.parquet"),
        answers=temp("results/parts/predict_localize_answers/{scatteritem}.parquet"),
    log:
        "results/logs/predict/localize/{scatteritem}.log",
    params:
        values=section("localize", "model"),
        given="",


use rule localize_medgemma as predict_localize with:
    input:
        localize=gather.part("results/parts/predict_localize/{scatteritem}.parquet"),
        answers=gather.part("results/parts/predict_localize_answers/{scatteritem}.parquet"),
        code=code("gather"),
    output:
        localize="results/predict/localize.parquet",
        answers="results/predict/localize_answers.parquet",
    log:
        "results/logs/predict/localize.log",


use rule submit as predict_submit with:
    input:
        manifest="results/predict/manifest.parquet",
        infer="results/predict/infer.parquet",
        localize="results/predict/localize.parquet",
        code=code("submit"),
    output:
        classification="results/predict/submission/classification_test_results.csv",
        localization="results/predict/submission/localization_test_results.csv",
    log:
        "results/logs/predict/submit.log",
    params:
        values=section("submit"),
        given=f"--calibration {quote(config['predict']['calibration'])}",
        calibration=study.fingerprint(config["predict"]["calibration"]),
