"""Which model, from where, with which right: found on a CPU before any GPU is asked for.

in   weights.fetch.base: a local folder or a model of the hub; the model of each localizer that brings its own
out  results/weights/fetch.json  {localizer}.json  {localizer}_environment.json; the demos' bases in results/weights/pretrain/
"""

if registry.has(config, "weights.pretrain"):

    wildcard_constraints:
        base="|".join(of("weights.pretrain")),

    rule weights_pretrain:
        """Teach a tiny model of MedGemma's architecture on drawn images that are easier than the study's."""
        input:
            code=code_of_base,
        output:
            out=directory("results/weights/pretrain/{base}"),
        log:
            "results/logs/weights_pretrain/{base}.log",
        resources:
            mem_mb=3000,
            runtime=60,
        params:
            values=values_of_base,
            paths=paths,
        shell:
            "python -m stages.weights.pretrain --params {params.values:q} --base {wildcards.base} {params.paths}"
            " 2>&1 | tee {log}"


rule weights_fetch:
    """Find the base model, and the right to use it."""
    input:
        images=made(config["weights"]["fetch"]["base"]),
        code=code("weights.fetch"),
    output:
        out="results/weights/fetch.json",
    log:
        "results/logs/weights_fetch.log",
    localrule: True
    params:
        values=section("weights.fetch"),
        paths=paths,
        base=watched(config["weights"]["fetch"]["base"]),
    shell:
        "python -m stages.weights.fetch --params {params.values:q} {params.paths} 2>&1 | tee {log}"


if OWN_MODEL:

    rule weights_fetch_own:
        """Find a localizer's own model, its code and its vision encoder, each at a pinned commit."""
        input:
            code=code("weights.fetch_chexagent"),
        output:
            out="results/weights/{localizer}.json",
        log:
            "results/logs/weights_fetch_own/{localizer}.log",
        wildcard_constraints:
            localizer="|".join(OWN_MODEL),
        localrule: True
        params:
            values=with_row("localizer", "nodules.localize"),
            paths=paths,
            folders=own_folders,
        shell:
            "python -m stages.weights.fetch_chexagent --params {params.values:q} --localizer {wildcards.localizer}"
            " {params.paths} 2>&1 | tee {log}"

    rule weights_environment:
        """Build a localizer's own environment, or find it built: gigabytes, so only once images and models are there."""
        input:
            images=["results/data/manifest.parquet", "results/weights/fetch.json", "results/weights/{localizer}.json"],
            code=["workflow/envs/chexagent2/requirements-torch.lock", "workflow/envs/chexagent2/requirements.lock"],
        output:
            out="results/weights/{localizer}_environment.json",
        log:
            "results/logs/weights_environment/{localizer}.log",
        wildcard_constraints:
            localizer="|".join(OWN_MODEL),
        localrule: True
        params:
            paths=paths,
        shell:
            "python -m workflow.chexagent_env {params.paths} 2>&1 | tee {log}"
