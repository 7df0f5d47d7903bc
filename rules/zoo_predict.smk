"""Other images by a row of the zoo: predict.model, as it was fitted here, with the same rules on another manifest.

What the row was fitted to and its calibration are read where the chapter wrote them, and never made: no training
artifact is touched. An ensemble brings its members.

in   predict.root  predict.model  results/zoo/fit/  results/zoo/infer/
out  results/predict/zoo/raw/{model}.parquet, which the rules of predict take from there
"""

PREDICTED_ZOO = "results/predict/zoo"


use rule zoo_normalize_shard as predict_zoo_normalize_shard with:
    input:
        manifest="results/predict/manifest.parquet",
        code=code("data.normalize"),
    output:
        folder=directory(f"{PREDICTED_ZOO}/pixels/{{side}}/{{scatteritem}}"),
        normalized=temp("results/shards/predict_zoo_normalize/{side}/{scatteritem}.parquet"),
    log:
        "results/logs/predict/zoo_normalize/{side}/{scatteritem}.log",


use rule zoo_normalize as predict_zoo_normalize with:
    input:
        shards=gather.shard("results/shards/predict_zoo_normalize/{{side}}/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        out=f"{PREDICTED_ZOO}/pixels/{{side}}.parquet",
    log:
        "results/logs/predict/zoo_normalize/{side}.log",


use rule zoo_embed_shard as predict_zoo_embed_shard with:
    input:
        weights=of_features(weights_of),
        environment=of_features(environment_of_row),
        normalized=of_features(lambda row: predicted_at(row["side_px"])),
        images=of_features(lambda row: predicted_images(row["side_px"])),
        code=code_of_backbone("zoo.embed"),
    output:
        features=f"{PREDICTED_ZOO}/features/{{features}}/{{scatteritem}}.parquet",
        record=f"{PREDICTED_ZOO}/features/{{features}}/{{scatteritem}}.json",
    log:
        "results/logs/predict/zoo_embed/{features}/{scatteritem}.log",


use rule zoo_embed as predict_zoo_embed with:
    input:
        records=gather.shard(f"{PREDICTED_ZOO}/features/{{{{features}}}}/{{scatteritem}}.json"),
        code=code("zoo.gather"),
    output:
        record=f"{PREDICTED_ZOO}/features/{{features}}.json",
    log:
        "results/logs/predict/zoo_embed/{features}.log",


use rule zoo_tokens_shard as predict_zoo_tokens_shard with:
    input:
        weights=of_features(weights_of),
        environment=of_features(environment_of_row),
        normalized=of_features(lambda row: predicted_at(row["side_px"])),
        images=of_features(lambda row: predicted_images(row["side_px"])),
        code=code_of_backbone("zoo.tokens"),
    output:
        tokens=f"{PREDICTED_ZOO}/tokens/{{features}}/{{purpose}}/{{scatteritem}}.parquet",
        record=f"{PREDICTED_ZOO}/tokens/{{features}}/{{purpose}}/{{scatteritem}}.json",
    log:
        "results/logs/predict/zoo_tokens/{features}/{purpose}/{scatteritem}.log",


use rule zoo_tokens as predict_zoo_tokens with:
    input:
        records=gather.shard(f"{PREDICTED_ZOO}/tokens/{{{{features}}}}/{{{{purpose}}}}/{{scatteritem}}.json"),
        code=code("zoo.gather"),
    output:
        record=f"{PREDICTED_ZOO}/tokens/{{features}}/{{purpose}}.json",
    log:
        "results/logs/predict/zoo_tokens/{features}/{purpose}.log",


use rule zoo_study_shard as predict_zoo_study_shard with:
    input:
        base="results/weights/fetch.json",
        normalized="results/predict/normalized.parquet",
        images=gather.shard("results/predict/normalized/{scatteritem}"),
        code=code_of_asked,
    output:
        infer=temp("results/shards/predict_zoo_study/{asked}/{scatteritem}.parquet"),
    log:
        "results/logs/predict/zoo_study/{asked}/{scatteritem}.log",
    params:
        values=asked_elsewhere,
        classifier=asked_classifier,
        paths=paths,
        given=files.fingerprint(PREDICT["adapter"]),


use rule zoo_study as predict_zoo_study with:
    input:
        shards=gather.shard("results/shards/predict_zoo_study/{{asked}}/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        out=f"{PREDICTED_ZOO}/study/{{asked}}.parquet",
    log:
        "results/logs/predict/zoo_study/{asked}.log",


use rule zoo_infer_shard as predict_zoo_infer_shard with:
    input:
        manifest="results/predict/manifest.parquet",
        features=reads_of("features", elsewhere(features_of)),
        tokens=reads_of("tokens", elsewhere(tokens_of("cohort"))),
        embedded=embedded_elsewhere,
        normalized=pixels_elsewhere,
        images=folders_elsewhere,
        scores=scores_elsewhere,
        weights=own_weights,
        parts=parts_of,
        environment=own_environment,
        code=code_of_model("zoo.infer"),
    output:
        infer=temp("results/shards/predict_zoo_infer/{model}/{scatteritem}.parquet"),
        record=temp("results/shards/predict_zoo_infer/{model}/{scatteritem}.json"),
    log:
        "results/logs/predict/zoo_infer/{model}/{scatteritem}.log",
    params:
        values=with_row("model", "zoo.embed", "zoo.bank", "nodules.cohort", "nodules.model"),
        paths=paths_and(fitted=["results/zoo/fit/{model}"], fit=["results/zoo/fit/{model}.json"]),
        given=fitted_elsewhere,


use rule zoo_infer as predict_zoo_infer with:
    input:
        shards=gather.shard("results/shards/predict_zoo_infer/{{model}}/{scatteritem}.parquet"),
        records=gather.shard("results/shards/predict_zoo_infer/{{model}}/{scatteritem}.json"),
        code=code("zoo.gather"),
    output:
        infer=f"{PREDICTED_ZOO}/raw/{{model}}.parquet",
        record=f"{PREDICTED_ZOO}/raw/{{model}}.json",
    log:
        "results/logs/predict/zoo_infer/{model}.log",
