"""Does this radiograph show a nodule? An adapter is trained, and each classifier gives every image one score.

A classifier is a row of nodules.classifiers; base and adapter are run by the same code.

in   results/data/  results/weights/fetch.json  results/nodules/localize/, for a classifier of the kind points
out  results/nodules/train/  results/nodules/infer/{classifier}.parquet and its calibration
     results/nodules/infer/tuned_other_form.parquet: validation images with the adapter merged if it was not, and vice versa
"""

OTHER = {"unmerged": "merged", "merged": "unmerged"}


rule nodules_train:
    """Fine-tune the quantized base by low-rank adapters on balanced, rotating epochs."""
    input:
        base="results/weights/fetch.json",
        manifest="results/data/manifest.parquet",
        normalized="results/data/normalized.parquet",
        images=gather.shard("results/data/normalized/{scatteritem}"),
        split="results/data/split.parquet",
        code=code("nodules.train"),
    output:
        adapter=directory("results/nodules/train/adapter"),
        log="results/nodules/train/train.json",
        curve="results/nodules/train/curve.csv",
    log:
        "results/logs/nodules_train.log",
    resources:
        gpu=1,
        mem_mb=24000,
        runtime=2880,
    params:
        values=section("nodules.train", "nodules.cohort", "nodules.model", "nodules.prompt"),
        paths=paths,
        live=live,
    shell:
        "python -m stages.nodules.train --params {params.values:q} {params.paths} --results results"
        " --checkpoints results/nodules/checkpoints --features results/nodules/features --live {params.live}"
        " 2>&1 | tee {log}"


rule nodules_infer_shard:
    """Score each image by the logits of two answers, one forward pass per batch."""
    input:
        base="results/weights/fetch.json",
        normalized="results/data/normalized.parquet",
        images=gather.shard("results/data/normalized/{scatteritem}"),
        split="results/data/split.parquet",
        adapter=adapter_of,
        code=code_of_classifier,
    output:
        infer=temp("results/shards/nodules_infer/{classifier}/{scatteritem}.parquet"),
    log:
        "results/logs/nodules_infer/{classifier}/{scatteritem}.log",
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=720,
    params:
        values=with_row("classifier", "nodules.infer", "nodules.model", "nodules.prompt"),
        paths=paths,
    shell:
        "python -m stages.nodules.infer --params {params.values:q} --classifier {wildcards.classifier} {params.paths}"
        " --shard {wildcards.scatteritem} --results results --features results/nodules/features 2>&1 | tee {log}"


rule nodules_infer:
    """Put the shards together."""
    input:
        shards=gather.shard("results/shards/nodules_infer/{{classifier}}/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        out="results/nodules/infer/raw/{classifier}.parquet",
    log:
        "results/logs/nodules_infer/{classifier}.log",
    wildcard_constraints:
        classifier="|".join(name for name in CLASSIFIERS if name not in RANKED) or NONE,
    localrule: True
    params:
        paths=paths,
        asked=with_row("classifier", "nodules.infer", "nodules.model", "nodules.prompt"),
    shell:
        "python -m stages.data.gather --table infer {params.paths} 2>&1 | tee {log}"


rule nodules_infer_points:
    """Score each image by the surest point of a localizer."""
    input:
        localize=points_of("", "results/nodules/localize"),
        responses=points_of("_responses", "results/nodules/localize"),
        split="results/data/split.parquet",
        code=code("nodules.infer_points"),
    output:
        infer="results/nodules/infer/raw/{classifier}.parquet",
    log:
        "results/logs/nodules_infer/{classifier}.log",
    wildcard_constraints:
        classifier="|".join(RANKED) or NONE,
    localrule: True
    params:
        paths=paths,
    shell:
        "python -m stages.nodules.infer_points {params.paths} 2>&1 | tee {log}"


rule nodules_calibrate:
    """Fit the scores of all classifiers to probabilities, in one form, and choose thresholds: on validation alone."""
    input:
        raw=expand("results/nodules/infer/raw/{classifier}.parquet", classifier=CLASSIFIERS),
        manifest="results/data/manifest.parquet",
        train=["results/nodules/train/train.json"] if TUNED else [],
        code=code("nodules.calibrate"),
    output:
        infer=expand("results/nodules/infer/{classifier}.parquet", classifier=CLASSIFIERS),
        calibration=expand("results/nodules/infer/{classifier}_calibration.json", classifier=CLASSIFIERS),
    log:
        "results/logs/nodules_calibrate.log",
    localrule: True
    params:
        values=section("nodules.calibrate", "nodules.cohort"),
        paths=paths_and(trained=TUNED),
    shell:
        "python -m stages.nodules.calibrate --params {params.values:q} {params.paths} 2>&1 | tee {log}"


use rule nodules_infer_shard as nodules_infer_other_form_shard with:
    output:
        infer=temp("results/shards/nodules_infer_other_form/{classifier}/{scatteritem}.parquet"),
    log:
        "results/logs/nodules_infer_other_form/{classifier}/{scatteritem}.log",
    params:
        values=with_row(
            "classifier",
            "nodules.infer",
            "nodules.model",
            "nodules.prompt",
            splits=["val"],
            weights=OTHER[NODULES["infer"]["weights"]],
        ),
        paths=paths,


rule nodules_infer_other_form:
    """Put together what the tuned model says of validation images with its adapter merged, if it was not."""
    input:
        shards=gather.shard("results/shards/nodules_infer_other_form/{{classifier}}/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        out="results/nodules/infer/{classifier}_other_form.parquet",
    log:
        "results/logs/nodules_infer_other_form/{classifier}.log",
    localrule: True
    params:
        paths=paths,
        asked=with_row("classifier", "nodules.infer", "nodules.model", "nodules.prompt"),
    shell:
        "python -m stages.data.gather --table infer {params.paths} 2>&1 | tee {log}"
