"""From a folder of unlabelled images and a trained adapter to the challenge's two files.

The same rules as the study's, on other images. The adapter and its calibration are read where predict.adapter and
predict.calibration say, and never made: no training artifact is touched.

in   predict.root  predict.adapter  predict.calibration  results/fetch.json
out  results/predict/submission/
"""


rule predict:
    """The challenge's two files for the images of predict.root."""
    input:
        "results/predict/submission/classification_test_results.csv",
        "results/predict/submission/localization_test_results.csv",
    localrule: True


use rule ingest as predict_ingest with:
    input:
        root=made(config["predict"]["root"]),
        code=code("data.ingest"),
    output:
        manifest="results/predict/manifest.parquet",
        points="results/predict/points.parquet",
    log:
        "results/logs/predict/ingest.log",
    params:
        values=section("ingest", root=config["predict"]["root"]),
        images=watched(config["predict"]["root"]),


use rule normalize_part as predict_normalize_part with:
    input:
        manifest="results/predict/manifest.parquet",
        code=code("data.normalize"),
    output:
        pngs=directory("results/predict/normalized/{scatteritem}"),
        normalized=temp("results/parts/predict_normalized/{scatteritem}.parquet"),
    log:
        "results/logs/predict/normalize/{scatteritem}.log",


use rule normalize as predict_normalize with:
    input:
        parts=gather.part("results/parts/predict_normalized/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        normalized="results/predict/normalized.parquet",
    log:
        "results/logs/predict/normalize.log",


use rule infer_zero_shot_part as predict_infer_part with:
    input:
        base="results/fetch.json",
        normalized="results/predict/normalized.parquet",
        pngs=gather.part("results/predict/normalized/{scatteritem}"),
        code=code("nodules.infer"),
    output:
        infer=temp("results/parts/predict_infer/{scatteritem}.parquet"),
    log:
        "results/logs/predict/infer/{scatteritem}.log",
    params:
        values=section("infer", "model", "prompt"),
        given=f"--adapter {quote(config['predict']['adapter'])}",
        adapter=files.fingerprint(config["predict"]["adapter"]),


use rule infer_zero_shot as predict_infer with:
    input:
        parts=gather.part("results/parts/predict_infer/{scatteritem}.parquet"),
        manifest="results/predict/manifest.parquet",
        code=code("nodules.calibrate"),
    output:
        infer="results/predict/infer.parquet",
    log:
        "results/logs/predict/infer.log",
    params:
        values=section("calibrate"),
        given=f"--fitted {quote(config['predict']['calibration'])}",
        calibration=files.fingerprint(config["predict"]["calibration"]),


use rule localize_medgemma_part as predict_localize_medgemma_part with:
    input:
        base="results/fetch.json",
        manifest="results/predict/manifest.parquet",
        normalized="results/predict/normalized.parquet",
        pngs=gather.part("results/predict/normalized/{scatteritem}"),
        code=code("nodules.localize_medgemma"),
    output:
        votes=temp("results/parts/predict_localize_medgemma/{scatteritem}.parquet"),
        answers=temp("results/parts/predict_localize_medgemma_answers/{scatteritem}.parquet"),
    log:
        "results/logs/predict/localize_medgemma/{scatteritem}.log",
    params:
        stage="nodules.localize_medgemma",
        values=section("localize", "choose", "medgemma", "model"),
        given=f"--base results/fetch.json {chosen('--choice', 'choice', 'medgemma')}",
        chosen=files.fingerprint(config["predict"]["localize"]),


use rule localize_medgemma as predict_localize_medgemma with:
    input:
        votes=gather.part("results/parts/predict_localize_medgemma/{scatteritem}.parquet"),
        answers=gather.part("results/parts/predict_localize_medgemma_answers/{scatteritem}.parquet"),
        manifest="results/predict/manifest.parquet",
        code=code("nodules.merge"),
    output:
        localize="results/predict/localize/medgemma.parquet",
        words="results/predict/localize/medgemma_answers.parquet",
    log:
        "results/logs/predict/localize_medgemma.log",
    params:
        values=section("merge", "choose"),
        given=chosen("--fitted", "cutoff", "medgemma"),
        chosen=files.fingerprint(config["predict"]["localize"]),


use rule localize_attribution_part as predict_localize_attribution_part with:
    input:
        base="results/fetch.json",
        manifest="results/predict/manifest.parquet",
        normalized="results/predict/normalized.parquet",
        pngs=gather.part("results/predict/normalized/{scatteritem}"),
        code=code("nodules.localize_attribution"),
    output:
        votes=temp("results/parts/predict_localize_attribution/{scatteritem}.parquet"),
        answers=temp("results/parts/predict_localize_attribution_answers/{scatteritem}.parquet"),
    log:
        "results/logs/predict/localize_attribution/{scatteritem}.log",
    params:
        stage="nodules.localize_attribution",
        values=section("localize", "choose", "attribution", "model"),
        given=f"--base results/fetch.json {chosen('--choice', 'choice', 'attribution')}",
        chosen=files.fingerprint(config["predict"]["localize"]),


use rule localize_attribution as predict_localize_attribution with:
    input:
        votes=gather.part("results/parts/predict_localize_attribution/{scatteritem}.parquet"),
        answers=gather.part("results/parts/predict_localize_attribution_answers/{scatteritem}.parquet"),
        manifest="results/predict/manifest.parquet",
        code=code("nodules.merge"),
    output:
        localize="results/predict/localize/attribution.parquet",
        words="results/predict/localize/attribution_answers.parquet",
    log:
        "results/logs/predict/localize_attribution.log",
    params:
        values=section("merge", "choose"),
        given=chosen("--fitted", "cutoff", "attribution"),
        chosen=files.fingerprint(config["predict"]["localize"]),


use rule combine as predict_combine with:
    input:
        localize=expand("results/predict/localize/{localizer}.parquet", localizer=LOCALIZERS),
        answers=expand("results/predict/localize/{localizer}_answers.parquet", localizer=LOCALIZERS),
        manifest="results/predict/manifest.parquet",
        code=code("nodules.combine"),
    output:
        combined="results/predict/localize/combined.parquet",
        words="results/predict/localize/combined_answers.parquet",
    log:
        "results/logs/predict/combine.log",
    params:
        values=section("combine", "choose"),
        given=f"{chosen('--fitted', 'cutoff', 'combined')} {chosen('--cutoffs', 'cutoff', *LOCALIZERS)}",
        chosen=files.fingerprint(config["predict"]["localize"]),


use rule cascade as predict_cascade with:
    input:
        localize="results/predict/localize/combined.parquet",
        answers="results/predict/localize/combined_answers.parquet",
        infer="results/predict/infer.parquet",
        code=code("nodules.cascade"),
    output:
        cascade="results/predict/localize/cascade.parquet",
        words="results/predict/localize/cascade_answers.parquet",
    log:
        "results/logs/predict/cascade.log",
    params:
        values=section("cascade"),
        given=f"--calibration {quote(config['predict']['calibration'])}",
        calibration=files.fingerprint(config["predict"]["calibration"]),


use rule submit as predict_submit with:
    input:
        manifest="results/predict/manifest.parquet",
        infer="results/predict/infer.parquet",
        localize=f"results/predict/localize/{config['submit']['localizer']}.parquet",
        code=code("nodules.submit"),
    output:
        classification="results/predict/submission/classification_test_results.csv",
        localization="results/predict/submission/localization_test_results.csv",
    log:
        "results/logs/predict/submit.log",
    params:
        values=section("submit"),
        given=f"--calibration {quote(config['predict']['calibration'])}",
        calibration=files.fingerprint(config["predict"]["calibration"]),
