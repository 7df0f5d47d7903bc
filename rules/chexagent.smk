"""What CheXagent-2 wants before it can be asked: its files, and an environment of its own. Non-commercial use only.

in   chexagent.model, chexagent.encoder: local folders or models of the hub; workflow/envs/chexagent2/*.lock
out  results/fetch_chexagent.json  results/environment_chexagent.json
"""


rule fetch_chexagent:
    """Find CheXagent-2, its code and its vision encoder, each at a pinned commit, while there is a network."""
    input:
        model=made(config["chexagent"]["model"]),
        encoder=made(config["chexagent"]["encoder"]),
        code=code("fetch_chexagent"),
    output:
        model="results/fetch_chexagent.json",
    log:
        "results/logs/fetch_chexagent.log",
    localrule: True
    params:
        values=section("chexagent"),
        files=[watched(config["chexagent"]["model"]), watched(config["chexagent"]["encoder"])],
    shell:
        "python -m stages.fetch_chexagent --params {params.values:q} --out {output.model} 2>&1 | tee {log}"


rule environment_chexagent:
    """Build the environment with exactly transformers 4.40.0, or find it built."""
    input:
        locks=["workflow/envs/chexagent2/requirements-torch.lock", "workflow/envs/chexagent2/requirements.lock"],
    output:
        environment="results/environment_chexagent.json",
    log:
        "results/logs/environment_chexagent.log",
    localrule: True
    shell:
        "python -m workflow.chexagent_env --out {output.environment} 2>&1 | tee {log}"
