"""What rows of the chapter zoo stand on before any image is seen: their models, and environments of their own.

out  results/weights/zoo/
"""


rule zoo_weights:
    """Find a model that rows name, and the right to use it; one that cannot be had fails its rows alone."""
    input:
        images=source_made,
        code=code("weights.fetch_model"),
    output:
        out="results/weights/zoo/{source}.json",
    log:
        "results/logs/zoo_weights/{source}.log",
    wildcard_constraints:
        source=one_of(name for name in SOURCES if name not in CONVERTED),
    localrule: True
    params:
        values=source_values,
        wants=source_wants,
        paths=paths,
        folder=source_watched,
    shell:
        "python -m stages.weights.fetch_model --params {params.values:q} --keys 'zoo.models.*.source' 'zoo.models.*.revision' --wants {params.wants}"
        " {params.paths} --missing 2>&1 | tee {log}"


rule zoo_environment:
    """Build the environment of rows of timm, torchxrayvision and open_clip, or find it built: gigabytes, once."""
    input:
        images="results/data/manifest.parquet",
        code=["workflow/envs/vision/requirements-torch.lock", "workflow/envs/vision/requirements.lock"],
    output:
        out=VISION_ENVIRONMENT,
    log:
        "results/logs/zoo_environment.log",
    localrule: True
    params:
        paths=paths,
    shell:
        "python -m workflow.vision_env {params.paths} --missing 2>&1 | tee {log}"


rule zoo_convert:
    """Find pickled weights and turn them into safetensors once, in a process without a network."""
    input:
        environment=VISION_ENVIRONMENT,
        images=source_made,
        code=code("weights.convert"),
    output:
        folder=directory("results/weights/zoo/{source}"),
        out="results/weights/zoo/{source}.json",
    log:
        "results/logs/zoo_convert/{source}.log",
    wildcard_constraints:
        source=one_of(CONVERTED),
    localrule: True
    params:
        values=source_values,
        paths=paths,
        folder=source_watched,
    shell:
        "python -m stages.weights.convert --params {params.values:q} --keys 'zoo.models.*.source' 'zoo.models.*.revision'"
        " 'zoo.models.*.library' 'zoo.models.*.architecture' {params.paths} --missing 2>&1 | tee {log}"


rule zoo_chexagent:
    """Find CheXagent, its code and its vision encoder, if it has one apart, each at a pinned commit."""
    input:
        code=code("weights.fetch_chexagent"),
    output:
        out="results/weights/zoo/{chexagent}_parts.json",
    log:
        "results/logs/zoo_chexagent/{chexagent}.log",
    localrule: True
    params:
        values=chexagent_values,
        paths=paths,
        folders=chexagent_watched,
    shell:
        "python -m stages.weights.fetch_chexagent --params {params.values:q} --model {wildcards.chexagent}"
        " {params.paths} --missing 2>&1 | tee {log}"


rule zoo_chexagent_environment:
    """Build CheXagent's environment, or find it built: gigabytes, once."""
    input:
        images=["results/data/manifest.parquet"],
        code=["workflow/envs/chexagent2/requirements-torch.lock", "workflow/envs/chexagent2/requirements.lock"],
    output:
        out=CHEXAGENT_ENVIRONMENT,
    log:
        "results/logs/zoo_chexagent_environment.log",
    localrule: True
    params:
        paths=paths,
    shell:
        "python -m workflow.chexagent_env {params.paths} --missing 2>&1 | tee {log}"


rule zoo_fetch:
    """What the rows need, before any GPU is asked for: models, and environments of their own."""
    input:
        expand("results/weights/zoo/{source}.json", source=SOURCES),
        ["results/weights/fetch.json"],
        expand("results/weights/zoo/{chexagent}_parts.json", chexagent=CHEXAGENTS),
        OWN_ENVIRONMENTS,
    localrule: True
