"""What rows of the chapter zoo read of the images: pixels at their side, frozen features, scores of the study's classifiers.

in   results/data/  results/weights/zoo/
out  results/zoo/pixels/  features/  tokens/  study/
"""


rule zoo_normalize_shard:
    """Make images of another side from the originals, by the function that the study's images pass."""
    input:
        manifest="results/data/manifest.parquet",
        code=code("data.normalize"),
    output:
        folder=directory("results/zoo/pixels/{side}/{scatteritem}"),
        normalized=temp("results/shards/zoo_normalize/{side}/{scatteritem}.parquet"),
    log:
        "results/logs/zoo_normalize/{side}/{scatteritem}.log",
    resources:
        mem_mb=3000,
        runtime=720,
    params:
        values=side_values,
        paths=paths,
    shell:
        "python -m stages.data.normalize --params {params.values:q} {params.paths} --results results"
        " --shard {wildcards.scatteritem} 2>&1 | tee {log}"


rule zoo_normalize:
    """Put the shards together."""
    input:
        shards=gather.shard("results/shards/zoo_normalize/{{side}}/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        out="results/zoo/pixels/{side}.parquet",
    log:
        "results/logs/zoo_normalize/{side}.log",
    localrule: True
    params:
        paths=paths,
        asked=side_values,
    shell:
        "python -m stages.data.gather --table normalized {params.paths} 2>&1 | tee {log}"


rule zoo_embed_shard:
    """Compute frozen features: statistics of each feature over an image's patch tokens, at each of its places."""
    input:
        weights=of_features(weights_of),
        environment=of_features(environment_of_row),
        manifest="results/data/manifest.parquet",
        split="results/data/split.parquet",
        normalized=of_features(lambda row: normalized_at(row["side_px"])),
        images=of_features(lambda row: images_at(row["side_px"])),
        code=code_of_backbone("zoo.embed"),
    output:
        features="results/zoo/features/{features}/{scatteritem}.parquet",
        record="results/zoo/features/{features}/{scatteritem}.json",
    log:
        "results/logs/zoo_embed/{features}/{scatteritem}.log",
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=720,
    params:
        values=features_values(),
        paths=paths,
    shell:
        "python -m stages.zoo.embed --params {params.values:q} {params.paths} --shard {wildcards.scatteritem}"
        " --results results --work results/zoo/work/{wildcards.features} --cache results/zoo/kept"
        " --projected results/nodules/features 2>&1 | tee {log}"


rule zoo_embed:
    """Put the records of the shards together; the features stay where they are."""
    input:
        records=gather.shard("results/zoo/features/{{features}}/{scatteritem}.json"),
        code=code("zoo.gather"),
    output:
        record="results/zoo/features/{features}.json",
    log:
        "results/logs/zoo_embed/{features}.log",
    localrule: True
    params:
        paths=paths,
        asked=features_values(),
    shell:
        "python -m stages.zoo.gather --kind embedded {params.paths} 2>&1 | tee {log}"


rule zoo_tokens_shard:
    """Keep all patch tokens of those images that a learned pooling or a localizer reads."""
    input:
        weights=of_features(weights_of),
        environment=of_features(environment_of_row),
        manifest="results/data/manifest.parquet",
        split="results/data/split.parquet",
        points="results/data/points.parquet",
        normalized=of_features(lambda row: normalized_at(row["side_px"])),
        images=of_features(lambda row: images_at(row["side_px"])),
        code=code_of_backbone("zoo.tokens"),
    output:
        tokens="results/zoo/tokens/{features}/{purpose}/{scatteritem}.parquet",
        record="results/zoo/tokens/{features}/{purpose}/{scatteritem}.json",
    log:
        "results/logs/zoo_tokens/{features}/{purpose}/{scatteritem}.log",
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=720,
    params:
        values=features_values("nodules.select", purpose=lambda wildcards: wildcards.purpose),
        paths=paths,
    shell:
        "python -m stages.zoo.tokens --params {params.values:q} {params.paths} --shard {wildcards.scatteritem}"
        " --results results --work results/zoo/work/{wildcards.features} --cache results/zoo/kept"
        " --projected results/nodules/features 2>&1 | tee {log}"


use rule zoo_embed as zoo_tokens with:
    input:
        records=gather.shard("results/zoo/tokens/{{features}}/{{purpose}}/{scatteritem}.json"),
        code=code("zoo.gather"),
    output:
        record="results/zoo/tokens/{features}/{purpose}.json",
    log:
        "results/logs/zoo_tokens/{features}/{purpose}.log",


rule zoo_study_shard:
    """Ask a classifier of the study at another number of places than the study does."""
    input:
        base="results/weights/fetch.json",
        normalized="results/data/normalized.parquet",
        images=gather.shard("results/data/normalized/{scatteritem}"),
        split="results/data/split.parquet",
        adapter=asked_adapter,
        code=code_of_asked,
    output:
        infer=temp("results/shards/zoo_study/{asked}/{scatteritem}.parquet"),
    log:
        "results/logs/zoo_study/{asked}/{scatteritem}.log",
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=720,
    params:
        values=asked_values,
        classifier=asked_classifier,
        paths=paths,
    shell:
        "python -m stages.nodules.infer --params {params.values:q} --classifier {params.classifier} {params.paths}"
        " --shard {wildcards.scatteritem} --results results --features results/nodules/features 2>&1 | tee {log}"


rule zoo_study:
    """Put the shards together."""
    input:
        shards=gather.shard("results/shards/zoo_study/{{asked}}/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        out="results/zoo/study/{asked}.parquet",
    log:
        "results/logs/zoo_study/{asked}.log",
    localrule: True
    params:
        paths=paths,
        asked=asked_values,
    shell:
        "python -m stages.data.gather --table infer {params.paths} 2>&1 | tee {log}"
