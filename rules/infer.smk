"""From images and a model to one score per image: the base as it is, and with the adapter, by the same code.

in   results/normalized.parquet  results/split.parquet  results/fetch.json  results/train/adapter
out  results/infer/zero_shot.parquet  results/infer/tuned.parquet  and their calibrations
     results/infer/tuned_twin.parquet: the validation images again, with the adapter merged if it was not, and vice versa
"""

OTHER = {"as_trained": "merged", "merged": "as_trained"}


rule infer_zero_shot_part:
    """Ask the base model about each image, one forward pass per batch."""
    input:
        base="results/fetch.json",
        normalized="results/normalized.parquet",
        pngs=gather.part("results/normalized/{scatteritem}"),
        split="results/split.parquet",
        code=code("nodules.infer"),
    output:
        infer=temp("results/parts/infer_zero_shot/{scatteritem}.parquet"),
    log:
        "results/logs/infer_zero_shot/{scatteritem}.log",
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=720,
    params:
        values=section("infer", "model", "prompt"),
        given="--split results/split.parquet",
    shell:
        "python -m stages.nodules.infer --params {params.values:q} --base {input.base} --normalized {input.normalized}"
        " {params.given} --part {wildcards.scatteritem} --results results"
        " --features results/features --infer {output.infer} 2>&1 | tee {log}"


use rule infer_zero_shot_part as infer_tuned_part with:
    input:
        base="results/fetch.json",
        normalized="results/normalized.parquet",
        pngs=gather.part("results/normalized/{scatteritem}"),
        split="results/split.parquet",
        adapter="results/train/adapter",
        code=code("nodules.infer"),
    output:
        infer=temp("results/parts/infer_tuned/{scatteritem}.parquet"),
    log:
        "results/logs/infer_tuned/{scatteritem}.log",
    params:
        values=section("infer", "model", "prompt"),
        given="--split results/split.parquet --adapter results/train/adapter",


rule infer_zero_shot:
    """Put the parts together, and fit scores to probabilities on validation alone."""
    input:
        parts=gather.part("results/parts/infer_zero_shot/{scatteritem}.parquet"),
        manifest="results/manifest.parquet",
        code=code("nodules.calibrate"),
    output:
        infer="results/infer/zero_shot.parquet",
        calibration="results/infer/zero_shot_calibration.json",
    log:
        "results/logs/infer_zero_shot.log",
    localrule: True
    params:
        values=section("calibrate"),
        given="--calibration results/infer/zero_shot_calibration.json",
    shell:
        "python -m stages.nodules.calibrate --params {params.values:q} --parts {input.parts} --manifest {input.manifest}"
        " {params.given} --infer {output.infer} 2>&1 | tee {log}"


use rule infer_zero_shot as infer_tuned with:
    input:
        parts=gather.part("results/parts/infer_tuned/{scatteritem}.parquet"),
        manifest="results/manifest.parquet",
        train="results/train/train.json",
        code=code("nodules.calibrate"),
    output:
        infer="results/infer/tuned.parquet",
        calibration="results/infer/tuned_calibration.json",
    log:
        "results/logs/infer_tuned.log",
    params:
        values=section("calibrate"),
        given="--train results/train/train.json --calibration results/infer/tuned_calibration.json",


use rule infer_tuned_part as infer_twin_part with:
    output:
        infer=temp("results/parts/infer_twin/{scatteritem}.parquet"),
    log:
        "results/logs/infer_twin/{scatteritem}.log",
    params:
        values=section("infer", "model", "prompt", splits=["val"], weights=OTHER[config["infer"]["weights"]]),
        given="--split results/split.parquet --adapter results/train/adapter",


rule infer_twin:
    """Put together what the tuned model says of the validation images with its weights in the other form."""
    input:
        parts=gather.part("results/parts/infer_twin/{scatteritem}.parquet"),
        code=code("data.gather"),
    output:
        infer="results/infer/tuned_twin.parquet",
    log:
        "results/logs/infer_twin.log",
    localrule: True
    shell:
        "python -m stages.data.gather --table infer --parts {input.parts} --out {output.infer} 2>&1 | tee {log}"
