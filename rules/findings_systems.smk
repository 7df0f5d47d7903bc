"""What the rules of the chapter findings share: its arms, judges and retrievers, their code, and the files behind them."""

FINDINGS = config["findings"]
ARMS, JUDGES, RETRIEVERS = list(FINDINGS["arms"]), list(FINDINGS["judges"]), list(FINDINGS["retrievers"])
TAUGHT = "results/findings/train/adapter"
TUNED_ARMS = [name for name, row in FINDINGS["arms"].items() if row.get("adapter") == TAUGHT]
STUDY_ARMS = [name for name in ARMS if name not in TUNED_ARMS]
IN_PROCESS = [name for name, row in FINDINGS["arms"].items() if row["kind"] == "local"]
OF_IMAGES = [name for name, row in FINDINGS["retrievers"].items() if "model" in row]  # retrievers with an encoder
RATINGS = [path for path in [FINDINGS["measure"]["human_ratings"]] if path != "none"]
LOCAL_JUDGES = [name for name, row in FINDINGS["judges"].items() if row["kind"] == "local"]
PROMPTS = sorted(map(str, Path("stages/lib/models").glob("*/*.yaml")))  # families of prompts, rubrics
WORDS = sorted(map(str, Path("stages/lib/metrics/text").glob("*.yaml")))  # the vocabulary of findings
FINDINGS_SHOWN = (
    "findings.section",
    "findings.arms",
    "findings.judges",
    "findings.measure",
    "findings.sample",
    "findings.ingest",
)
TEACHER = FINDINGS["train"]["arm"]  # whose way of asking is taught
COMPARED = FINDINGS["measure"]["comparisons"]

findings_run.hand_over(FINDINGS["client"], kept="findings_rescore" in sys.argv)


wildcard_constraints:
    arm="|".join(ARMS),
    judge="|".join(JUDGES),
    retriever="|".join(RETRIEVERS) or NONE,


def code_of_arm(wildcards):
    """Source files of answer, of the kind of this arm alone, and its prompts."""
    return sorted({*code("findings.answer"), *closure(f"{kinds.ARMS}.{row_of('arm', wildcards.arm)['kind']}")})


def code_of_judge(wildcards):
    """Source files of judge, and of the kind of this judge alone."""
    return sorted({*code("findings.judge"), *closure(f"{kinds.JUDGES}.{row_of('judge', wildcards.judge)['kind']}")})


def fetched_of_arm(wildcards):
    """The record of the model of an arm that runs in process."""
    return [f"results/weights/findings/{wildcards.arm}.json"] if wildcards.arm in IN_PROCESS else []


def after_of(wildcards):
    """The answers that an arm elaborates."""
    after = row_of("arm", wildcards.arm).get("after", "none")
    return [] if after == "none" else [f"results/findings/answer/{after}.parquet"]


def retrieved_of(wildcards):
    """The cases like each case, for an arm that is shown them."""
    retriever = row_of("arm", wildcards.arm).get("retriever", "none")
    return [] if retriever == "none" else [f"results/findings/retrieve/{retriever}.parquet"]


def taught_of(wildcards):
    """The adapter of an arm, if this pipeline makes it."""
    return [TAUGHT] if wildcards.arm in TUNED_ARMS else []


def own_files(*documents):
    """Fingerprints of the files of prompts, rubrics and words that a user's rows name."""
    named = [value for row in documents for value in row.values() if isinstance(value, str)]
    return [files.fingerprint(value) for value in named if value.endswith((".yaml", ".yml", ".csv", ".tsv"))]


def own_of(kind):
    """Those of the row of an arm or judge."""
    return lambda wildcards: own_files(row_of(kind, wildcards[kind]))


def model_of(kind):
    """What names the model of an arm or judge that runs in process: how it is asked is no reason to look for it again."""

    def values(wildcards):
        row, rows = row_of(kind, wildcards[kind]), {"arms": {}, "judges": {}}
        rows[f"{kind}s"][wildcards[kind]] = {key: row[key] for key in ("kind", "model", "revision")}
        return json.dumps({"findings": rows})

    return values


def model_made(kind):
    """The result that such a model lies in, if this pipeline makes it."""
    return lambda wildcards: made(row_of(kind, wildcards[kind])["model"])


def model_watched(kind):
    """Fingerprint of such a model, where it is a folder from outside."""
    return lambda wildcards: watched(row_of(kind, wildcards[kind])["model"])


def fetched_of_judge(wildcards):
    """The record of the model of a judge that runs in process."""
    return [f"results/weights/findings/judges/{wildcards.judge}.json"] if wildcards.judge in LOCAL_JUDGES else []


def fetched_of_fallback(wildcards):
    """The record of the model of its fallback judge."""
    fallback = row_of("judge", wildcards.judge)["fallback"]
    return [f"results/weights/findings/judges/{fallback}.json"] if fallback in LOCAL_JUDGES else []


def judge_values(wildcards):
    """The row of a judge, and that of its fallback."""
    names = [wildcards.judge, row_of("judge", wildcards.judge)["fallback"]]
    rows = {name: row_of("judge", name) for name in names if name in JUDGES}
    for row in rows.values():
        row.pop("label", None)
    return json.dumps({"findings": {"judges": rows}})


def code_of_judge_audit(wildcards):
    """Source files of audit, and of the kind of this judge alone."""
    return sorted({*code("findings.audit"), *closure(f"{kinds.JUDGES}.{row_of('judge', wildcards.judge)['kind']}")})


def judge_audit_values(wildcards):
    """What a judge is asked, with its row and that of its fallback."""
    document = json.loads(judge_values(wildcards))
    document["findings"]["audit"] = FINDINGS["audit"]
    return json.dumps(document)


def code_of_retriever(wildcards):
    """Source files of retrieve, and of the kind of this retriever alone."""
    kind = row_of("retriever", wildcards.retriever)["kind"]
    return sorted({*code("findings.retrieve"), *closure(f"{kinds.RETRIEVERS}.{kind}")})


def encoder_of(wildcards):
    """The record of a retriever's encoder."""
    return (
        [f"results/weights/findings/retrievers/{wildcards.retriever}.json"] if wildcards.retriever in OF_IMAGES else []
    )


def dealt_out(wildcards):
    """The neighbours that a shuffled retriever deals out."""
    row = row_of("retriever", wildcards.retriever)
    return [f"results/findings/retrieve/{row['of']}.parquet"] if "of" in row else []


def gpu_of(kind, names):
    """Whether a job loads a model."""
    return lambda wildcards: int(wildcards[kind] in names)


def answers_of(arms):
    """Answers of arms."""
    return expand("results/findings/answer/{arm}.parquet", arm=arms)


def timings_of(arms, folder):
    """What answers and judgements took."""
    return [
        *expand("results/findings/answer/{arm}_timing.json", arm=arms),
        *expand(f"{folder}/{{judge}}_timing.json", judge=JUDGES),
    ]


def teaching(wildcards):
    """Parameters of training, with the row of the arm whose way of asking is taught alone."""
    document = json.loads(section("findings.train")(wildcards))
    row = row_of("arm", TEACHER)
    row.pop("label", None)
    document["findings"]["arms"] = {TEACHER: row}
    return json.dumps(document)
