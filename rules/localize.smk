"""From images to points without training: each localizer is asked, its request chosen, its votes merged, all combined.

Requests and cutoffs are chosen on images of choose.splits, none of them a test image.

in   results/normalized.parquet  results/fetch.json  results/split.parquet  results/points.parquet
out  results/localize/{localizer}.parquet, its words in {localizer}_answers.parquet, and what was chosen for it in
     {localizer}_choice.json and {localizer}_cutoff.json; combined.parquet, and cascade.parquet
"""

LOCALIZERS = config["localize"]["localizers"]


rule localize_medgemma_choice_part:
    """Put every request of the bank to the images that choose."""
    input:
        base="results/fetch.json",
        manifest="results/manifest.parquet",
        normalized="results/normalized.parquet",
        pngs=gather.part("results/normalized/{scatteritem}"),
        split="results/split.parquet",
        points="results/points.parquet",
        code=code("nodules.localize_medgemma"),
    output:
        votes=temp("results/parts/localize_medgemma_choice/{scatteritem}.parquet"),
        answers=temp("results/parts/localize_medgemma_choice_answers/{scatteritem}.parquet"),
    log:
        "results/logs/localize_medgemma_choice/{scatteritem}.log",
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=1440,
    params:
        stage="nodules.localize_medgemma",
        values=section("localize", "choose", "medgemma", "model", images="choosing", views=["whole"]),
        given="--base results/fetch.json --split results/split.parquet --points results/points.parquet",
    shell:
        "python -m stages.{params.stage} --params {params.values:q} --manifest {input.manifest}"
        " --normalized {input.normalized} {params.given} --part {wildcards.scatteritem} --results results"
        " --votes {output.votes} --answers {output.answers} 2>&1 | tee {log}"


rule localize_medgemma_choice:
    """Choose the request that finds most and misses least, on images that are not test images."""
    input:
        votes=gather.part("results/parts/localize_medgemma_choice/{scatteritem}.parquet"),
        answers=gather.part("results/parts/localize_medgemma_choice_answers/{scatteritem}.parquet"),
        manifest="results/manifest.parquet",
        split="results/split.parquet",
        points="results/points.parquet",
        code=code("nodules.select"),
    output:
        choice="results/localize/medgemma_choice.json",
    log:
        "results/logs/localize_medgemma_choice.log",
    localrule: True
    params:
        values=section("choose"),
    shell:
        "python -m stages.nodules.select --params {params.values:q} --votes {input.votes} --answers {input.answers}"
        " --manifest {input.manifest} --split {input.split} --points {input.points} --choice {output.choice}"
        " 2>&1 | tee {log}"


use rule localize_medgemma_choice_part as localize_medgemma_part with:
    input:
        base="results/fetch.json",
        manifest="results/manifest.parquet",
        normalized="results/normalized.parquet",
        pngs=gather.part("results/normalized/{scatteritem}"),
        split="results/split.parquet",
        points="results/points.parquet",
        choice="results/localize/medgemma_choice.json",
        code=code("nodules.localize_medgemma"),
    output:
        votes=temp("results/parts/localize_medgemma/{scatteritem}.parquet"),
        answers=temp("results/parts/localize_medgemma_answers/{scatteritem}.parquet"),
    log:
        "results/logs/localize_medgemma/{scatteritem}.log",
    params:
        stage="nodules.localize_medgemma",
        values=section("localize", "choose", "medgemma", "model"),
        given="--base results/fetch.json --split results/split.parquet --points results/points.parquet"
        " --choice results/localize/medgemma_choice.json",


rule localize_medgemma:
    """Merge what each request and view found, and choose from which confidence on a point is shown."""
    input:
        votes=gather.part("results/parts/localize_medgemma/{scatteritem}.parquet"),
        answers=gather.part("results/parts/localize_medgemma_answers/{scatteritem}.parquet"),
        manifest="results/manifest.parquet",
        split="results/split.parquet",
        points="results/points.parquet",
        code=code("nodules.merge"),
    output:
        localize="results/localize/medgemma.parquet",
        words="results/localize/medgemma_answers.parquet",
        cutoff="results/localize/medgemma_cutoff.json",
    log:
        "results/logs/localize_medgemma.log",
    localrule: True
    params:
        values=section("merge", "choose"),
        given="--split results/split.parquet --points results/points.parquet"
        " --cutoff results/localize/medgemma_cutoff.json",
    shell:
        "python -m stages.nodules.merge --params {params.values:q} --votes {input.votes} --answers {input.answers}"
        " --manifest {input.manifest} {params.given} --localize {output.localize} --words {output.words}"
        " 2>&1 | tee {log}"


use rule localize_medgemma_choice_part as localize_attribution_choice_part with:
    input:
        base="results/fetch.json",
        manifest="results/manifest.parquet",
        normalized="results/normalized.parquet",
        pngs=gather.part("results/normalized/{scatteritem}"),
        split="results/split.parquet",
        points="results/points.parquet",
        code=code("nodules.localize_attribution"),
    output:
        votes=temp("results/parts/localize_attribution_choice/{scatteritem}.parquet"),
        answers=temp("results/parts/localize_attribution_choice_answers/{scatteritem}.parquet"),
    log:
        "results/logs/localize_attribution_choice/{scatteritem}.log",
    params:
        stage="nodules.localize_attribution",
        values=section("localize", "choose", "attribution", "model", images="choosing", views=["whole"]),
        given="--base results/fetch.json --split results/split.parquet --points results/points.parquet",


use rule localize_medgemma_choice as localize_attribution_choice with:
    input:
        votes=gather.part("results/parts/localize_attribution_choice/{scatteritem}.parquet"),
        answers=gather.part("results/parts/localize_attribution_choice_answers/{scatteritem}.parquet"),
        manifest="results/manifest.parquet",
        split="results/split.parquet",
        points="results/points.parquet",
        code=code("nodules.select"),
    output:
        choice="results/localize/attribution_choice.json",
    log:
        "results/logs/localize_attribution_choice.log",


use rule localize_attribution_choice_part as localize_attribution_part with:
    input:
        base="results/fetch.json",
        manifest="results/manifest.parquet",
        normalized="results/normalized.parquet",
        pngs=gather.part("results/normalized/{scatteritem}"),
        split="results/split.parquet",
        points="results/points.parquet",
        choice="results/localize/attribution_choice.json",
        code=code("nodules.localize_attribution"),
    output:
        votes=temp("results/parts/localize_attribution/{scatteritem}.parquet"),
        answers=temp("results/parts/localize_attribution_answers/{scatteritem}.parquet"),
    log:
        "results/logs/localize_attribution/{scatteritem}.log",
    params:
        stage="nodules.localize_attribution",
        values=section("localize", "choose", "attribution", "model"),
        given="--base results/fetch.json --split results/split.parquet --points results/points.parquet"
        " --choice results/localize/attribution_choice.json",


use rule localize_medgemma as localize_attribution with:
    input:
        votes=gather.part("results/parts/localize_attribution/{scatteritem}.parquet"),
        answers=gather.part("results/parts/localize_attribution_answers/{scatteritem}.parquet"),
        manifest="results/manifest.parquet",
        split="results/split.parquet",
        points="results/points.parquet",
        code=code("nodules.merge"),
    output:
        localize="results/localize/attribution.parquet",
        words="results/localize/attribution_answers.parquet",
        cutoff="results/localize/attribution_cutoff.json",
    log:
        "results/logs/localize_attribution.log",
    params:
        values=section("merge", "choose"),
        given="--split results/split.parquet --points results/points.parquet"
        " --cutoff results/localize/attribution_cutoff.json",


rule combine:
    """Trust more what more localizers point at."""
    input:
        localize=expand("results/localize/{localizer}.parquet", localizer=LOCALIZERS),
        answers=expand("results/localize/{localizer}_answers.parquet", localizer=LOCALIZERS),
        cutoffs=expand("results/localize/{localizer}_cutoff.json", localizer=LOCALIZERS),
        manifest="results/manifest.parquet",
        split="results/split.parquet",
        points="results/points.parquet",
        code=code("nodules.combine"),
    output:
        combined="results/localize/combined.parquet",
        words="results/localize/combined_answers.parquet",
        cutoff="results/localize/combined_cutoff.json",
    log:
        "results/logs/combine.log",
    localrule: True
    params:
        values=section("combine", "choose"),
        given="--split results/split.parquet --points results/points.parquet"
        f" --cutoffs {' '.join(expand('results/localize/{localizer}_cutoff.json', localizer=LOCALIZERS))}"
        " --cutoff results/localize/combined_cutoff.json",
    shell:
        "python -m stages.nodules.combine --params {params.values:q} --localize {input.localize} --answers {input.answers}"
        " --manifest {input.manifest} {params.given} --combined {output.combined} --words {output.words}"
        " 2>&1 | tee {log}"


rule cascade:
    """Leave points on images alone that the tuned model takes for positive."""
    input:
        localize="results/localize/combined.parquet",
        answers="results/localize/combined_answers.parquet",
        infer="results/infer/tuned.parquet",
        calibration="results/infer/tuned_calibration.json",
        code=code("nodules.cascade"),
    output:
        cascade="results/localize/cascade.parquet",
        words="results/localize/cascade_answers.parquet",
    log:
        "results/logs/cascade.log",
    localrule: True
    params:
        values=section("cascade"),
        given="--calibration results/infer/tuned_calibration.json",
    shell:
        "python -m stages.nodules.cascade --params {params.values:q} --localize {input.localize} --answers {input.answers}"
        " --infer {input.infer} {params.given} --cascade {output.cascade} --words {output.words}"
        " 2>&1 | tee {log}"
