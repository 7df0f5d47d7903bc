"""CheXagent-2 as a localizer: its files, an environment of its own, and what it is asked. Non-commercial use only.

in   chexagent.model, chexagent.encoder: local folders or models of the hub; workflow/envs/chexagent2/*.lock
out  results/fetch_chexagent.json  results/environment_chexagent.json  results/localize/chexagent.parquet
"""

FILES = (
    "--fetched results/fetch_chexagent.json --environment results/environment_chexagent.json"
    " --journals results/chexagent"
)


rule fetch_chexagent:
    """Find CheXagent-2, its code and its vision encoder, each at a pinned commit, while there is a network."""
    input:
        model=made(config["chexagent"]["model"]),
        encoder=made(config["chexagent"]["encoder"]),
        code=code("weights.fetch_chexagent"),
    output:
        model="results/fetch_chexagent.json",
    log:
        "results/logs/fetch_chexagent.log",
    localrule: True
    params:
        values=section("chexagent"),
        files=[watched(config["chexagent"]["model"]), watched(config["chexagent"]["encoder"])],
    shell:
        "python -m stages.weights.fetch_chexagent --params {params.values:q} --out {output.model} 2>&1 | tee {log}"


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


use rule localize_medgemma_choice_part as localize_chexagent_choice_part with:
    input:
        fetched="results/fetch_chexagent.json",
        environment="results/environment_chexagent.json",
        manifest="results/manifest.parquet",
        normalized="results/normalized.parquet",
        pngs=gather.part("results/normalized/{scatteritem}"),
        split="results/split.parquet",
        points="results/points.parquet",
        code=code("nodules.localize_chexagent"),
    output:
        votes=temp("results/parts/localize_chexagent_choice/{scatteritem}.parquet"),
        answers=temp("results/parts/localize_chexagent_choice_answers/{scatteritem}.parquet"),
    log:
        "results/logs/localize_chexagent_choice/{scatteritem}.log",
    params:
        stage="nodules.localize_chexagent",
        values=section("localize", "choose", "chexagent", images="choosing", views=["whole"]),
        given=f"{FILES} --split results/split.parquet --points results/points.parquet",


use rule localize_medgemma_choice as localize_chexagent_choice with:
    input:
        votes=gather.part("results/parts/localize_chexagent_choice/{scatteritem}.parquet"),
        answers=gather.part("results/parts/localize_chexagent_choice_answers/{scatteritem}.parquet"),
        manifest="results/manifest.parquet",
        split="results/split.parquet",
        points="results/points.parquet",
        code=code("nodules.select"),
    output:
        choice="results/localize/chexagent_choice.json",
    log:
        "results/logs/localize_chexagent_choice.log",


use rule localize_chexagent_choice_part as localize_chexagent_part with:
    input:
        fetched="results/fetch_chexagent.json",
        environment="results/environment_chexagent.json",
        manifest="results/manifest.parquet",
        normalized="results/normalized.parquet",
        pngs=gather.part("results/normalized/{scatteritem}"),
        split="results/split.parquet",
        points="results/points.parquet",
        choice="results/localize/chexagent_choice.json",
        code=code("nodules.localize_chexagent"),
    output:
        votes=temp("results/parts/localize_chexagent/{scatteritem}.parquet"),
        answers=temp("results/parts/localize_chexagent_answers/{scatteritem}.parquet"),
    log:
        "results/logs/localize_chexagent/{scatteritem}.log",
    params:
        stage="nodules.localize_chexagent",
        values=section("localize", "choose", "chexagent"),
        given=f"{FILES} --split results/split.parquet --points results/points.parquet"
        " --choice results/localize/chexagent_choice.json",


use rule localize_medgemma as localize_chexagent with:
    input:
        votes=gather.part("results/parts/localize_chexagent/{scatteritem}.parquet"),
        answers=gather.part("results/parts/localize_chexagent_answers/{scatteritem}.parquet"),
        manifest="results/manifest.parquet",
        split="results/split.parquet",
        points="results/points.parquet",
        code=code("nodules.merge"),
    output:
        localize="results/localize/chexagent.parquet",
        words="results/localize/chexagent_answers.parquet",
        cutoff="results/localize/chexagent_cutoff.json",
    log:
        "results/logs/localize_chexagent.log",
    params:
        values=section("merge", "choose"),
        given="--split results/split.parquet --points results/points.parquet"
        " --cutoff results/localize/chexagent_cutoff.json",


use rule localize_chexagent_part as predict_localize_chexagent_part with:
    input:
        fetched="results/fetch_chexagent.json",
        environment="results/environment_chexagent.json",
        manifest="results/predict/manifest.parquet",
        normalized="results/predict/normalized.parquet",
        pngs=gather.part("results/predict/normalized/{scatteritem}"),
        code=code("nodules.localize_chexagent"),
    output:
        votes=temp("results/parts/predict_localize_chexagent/{scatteritem}.parquet"),
        answers=temp("results/parts/predict_localize_chexagent_answers/{scatteritem}.parquet"),
    log:
        "results/logs/predict/localize_chexagent/{scatteritem}.log",
    params:
        stage="nodules.localize_chexagent",
        values=section("localize", "choose", "chexagent"),
        given=f"{FILES} {chosen('--choice', 'choice', 'chexagent')}",
        chosen=files.fingerprint(config["predict"]["localize"]),


use rule localize_chexagent as predict_localize_chexagent with:
    input:
        votes=gather.part("results/parts/predict_localize_chexagent/{scatteritem}.parquet"),
        answers=gather.part("results/parts/predict_localize_chexagent_answers/{scatteritem}.parquet"),
        manifest="results/predict/manifest.parquet",
        code=code("nodules.merge"),
    output:
        localize="results/predict/localize/chexagent.parquet",
        words="results/predict/localize/chexagent_answers.parquet",
    log:
        "results/logs/predict/localize_chexagent.log",
    params:
        values=section("merge", "choose"),
        given=chosen("--fitted", "cutoff", "chexagent"),
        chosen=files.fingerprint(config["predict"]["localize"]),
