"""The demo study's own data and base model; other studies bring theirs and never come here.

in   (nothing)
out  results/simulate/  results/pretrain/
"""


rule simulate:
    """Draw synthetic images with nodules at exactly known places, in the layout of the challenge's data."""
    input:
        code=code("data.simulate"),
    output:
        images=directory("results/simulate"),
    log:
        "results/logs/simulate.log",
    threads: 2
    resources:
        mem_mb=1500,
        runtime=30,
    params:
        values=section("simulate"),
    shell:
        "python -m stages.data.simulate --params {params.values:q} --out {output.images} 2>&1 | tee {log}"


rule pretrain:
    """Teach a tiny model of MedGemma's architecture to answer and to point, on easier images."""
    input:
        code=code("weights.pretrain"),
    output:
        base=directory("results/pretrain"),
    log:
        "results/logs/pretrain.log",
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        values=section("pretrain", "prompt", "medgemma"),
    shell:
        "python -m stages.weights.pretrain --params {params.values:q} --out {output.base} 2>&1 | tee {log}"
