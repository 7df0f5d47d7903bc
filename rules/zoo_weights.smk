"""What rows of the chapter zoo stand on before any image is seen: their models.

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


rule zoo_fetch:
    """What the rows need, before any GPU is asked for: models, and environments of their own."""
    input:
        expand("results/weights/zoo/{source}.json", source=SOURCES),
        ["results/weights/fetch.json"],
        [VISION_ENVIRONMENT] if any(zoo_names.needs_vision(row) for _, _, row in ZOO_ROWS) else [],
    localrule: True
