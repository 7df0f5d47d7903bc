"""From the sections and measures of whatever chapters to a page.

in   results/{chapter}/section.json  results/{chapter}/measure/
out  results/report.html  results/metrics.json  results/summary.json  results/{chapter}/report.html
"""

TEMPLATES = sorted(str(path) for path in Path("stages/lib/report/templates").iterdir())
PAGES_APART = expand("results/{chapter}/report.html", chapter=[name for name in CHAPTERS if name in chapters.OWN_PAGE])


rule report:
    """Join the chapters' sections to one page, and their measures to one document."""
    input:
        sections=expand("results/{chapter}/section.json", chapter=CHAPTERS),
        measures=expand("results/{chapter}/measure/measures.parquet", chapter=CHAPTERS),
        notes=expand("results/{chapter}/measure/notes.json", chapter=CHAPTERS),
        over_seeds=OVER_SEEDS,
        templates=TEMPLATES,
        code=code("report"),
    output:
        report="results/report.html",
        pages=expand(
            "results/{chapter}/report.html", chapter=[name for name in CHAPTERS if name not in chapters.OWN_PAGE]
        ),
        metrics="results/metrics.json",
        summary="results/summary.json",
    log:
        "results/logs/report.log",
    localrule: True
    params:
        values=section("report"),
        paths=paths,
    shell:
        "python -m stages.report --params {params.values:q} {params.paths} 2>&1 | tee {log}"
