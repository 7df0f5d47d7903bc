"""Asking a model for verdicts: by schema, then as any JSON object, then in words alone.

Servers differ: some obey a schema, some refuse the parameter, some take it and do as they like. So a form is dropped
where the server refuses it (400), and otherwise the response itself is looked at: what is no verdict is asked for
again, with what was wrong, one form lower.

Everything that is sent is decided by what was answered before, so a second run finds each step in the ledger.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from stages.lib.core.errors import EndpointError, VerdictError
from stages.lib.models.chat.request import Message, Reply, Request, Sampling
from stages.lib.models.judging import parsing, prompting
from stages.lib.models.judging.rating import Judged, Question, Rater
from stages.lib.models.judging.rubric import Rubric

Form = Literal["json_schema", "json_object", "text"]
FORMS: tuple[Form, ...] = ("json_schema", "json_object", "text")
REFUSED = "400:"  # beginning of the problem of a request that the server does not take
LENGTH = "length"
MAX_ALONE = 3  # questions that are refused in all forms before the others are no longer asked alone
Ask = Callable[[Sequence[Request]], Iterator[tuple[int, Reply]]]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that judges, and how it is asked.

    Attributes:
        name: The model, as requests name it.
        revision: Of its weights.
        ask: Yields number and reply of each request, from the ledger or from the model.
        kept: Whether the answer to the request of a key is in the ledger.
        live: Whether the model may be asked; else all that the ledger lacks is asked for at once, to be named.
        rubric: How it is to rate.
        max_tokens: Of a response.
        max_reprompts: Times that a response of the wrong form is asked for again.
        dollars: What a reply cost; None if that is not known.
    """

    name: str
    revision: str
    ask: Ask
    kept: Callable[[str], bool]
    live: bool
    rubric: Rubric
    max_tokens: int
    max_reprompts: int
    dollars: Callable[[Reply], float | None] = lambda reply: None


@dataclass
class _State:
    """How far one question is."""

    question: Question
    messages: tuple[Message, ...]
    form: Form = FORMS[0]
    asked: int = 0
    replies: list[Reply] = field(default_factory=list)
    judged: Judged | None = None


def rater(model: Model) -> Rater:
    """Rater that asks a model."""

    def rate(questions: Sequence[Question]) -> list[Judged]:
        run = _Run(model)
        states = [_State(one, prompting.messages(model.rubric, one.gold or "", one.answer or "")) for one in questions]
        while waiting := [state for state in states if state.judged is None]:
            run.ask_once(waiting)
        return [_with_costs(state.judged, state.replies, model) for state in states if state.judged is not None]

    return rate


def _with_costs(judged: Judged, replies: Sequence[Reply], model: Model) -> Judged:
    return replace(judged, replies=tuple(replies), paid=tuple(model.dollars(reply) for reply in replies))


@dataclass
class _Run:
    """Questions to one model.

    Attributes:
        model: The model.
        taken: Forms that it was asked in and did not refuse.
        refused: Forms that it refused; never the lowest, behind which there is none to try.
        taken_by_none: Questions that it refused in all forms.
    """

    model: Model
    taken: set[Form] = field(default_factory=set)
    refused: set[Form] = field(default_factory=set)
    taken_by_none: int = 0

    def ask_once(self, waiting: Sequence[_State]) -> None:
        """Ask each once: first alone those whose form was not tried yet, then the others together."""
        together = []
        for state in waiting:
            kept = self._kept(state)
            if kept is None and self.model.live:
                state.form = next(form for form in _from(state.form) if form not in self.refused)
                if state.form not in self.taken:
                    self._try_forms(state)
                    continue
            state.form = kept or state.form
            together.append(state)
        requests = [self._request(state, state.form) for state in together]
        for number, reply in self.model.ask(requests):
            self._take(together[number], requests[number], reply)

    def _kept(self, state: _State) -> Form | None:
        """The highest form in which the ledger has an answer; None without one."""
        return next((form for form in _from(state.form) if self.model.kept(self._request(state, form).key)), None)

    def _try_forms(self, state: _State) -> None:
        """Ask one question in one form after the other until the server takes it.

        What it does not take in any form is at fault itself, and says nothing of the forms. After some of these the
        server is, and the rest is asked together, which stops at the first refusals.
        """
        tried: list[Form] = []
        for form in (one for one in _from(state.form) if one not in self.refused):
            state.form = form
            request = self._request(state, form)
            reply = self._alone(request)
            if not _refused(reply):
                self.refused.update(tried)
                self.taken.add(form)
                break
            tried.append(form)
        else:
            self.taken_by_none += 1
            if self.taken_by_none >= MAX_ALONE:
                self.taken.update(FORMS)
        self._take(state, request, reply)

    def _alone(self, request: Request) -> Reply:
        found = Reply("error", problem="no reply")
        try:
            for _, reply in self.model.ask([request]):
                found = reply
        except EndpointError:
            if not _refused(found):
                raise
        return found

    def _request(self, state: _State, form: Form) -> Request:
        model = self.model
        return Request(
            item=state.question.name,
            model=model.name,
            revision=model.revision,
            messages=state.messages,
            sampling=Sampling(temperature=0.0, top_p=1.0, max_tokens=model.max_tokens, seed=None),
            sample=state.question.repeat,
            prompt_version=f"{model.rubric.label}/{prompting.VERSION}",
            schema=prompting.schema() if form == "json_schema" else None,
            form=form,
        )

    def _take(self, state: _State, request: Request, reply: Reply) -> None:
        """Read a reply: a verdict, a reason to ask again, or the end."""
        state.replies.append(reply)
        if reply.status != "ok":
            if _refused(reply) and state.form != FORMS[-1]:
                state.form = _lower(state.form)
            else:
                problem = reply.problem or "no reply"
                state.judged = Judged(status=reply.status, problem=problem, asked=state.asked + 1)
            return
        state.asked += 1
        text = reply.text or ""
        found = Judged(status="ok", judged_by=reply.model, asked=state.asked, request=request.key, response=text)
        try:
            verdict = parsing.verdict(text)
            state.judged = replace(found, status="ok" if state.asked == 1 else "repaired", verdict=verdict)
        except VerdictError as error:
            problem = str(error) + (_cut(text, request) if reply.finish_reason == LENGTH else "")
            if state.asked > self.model.max_reprompts:
                state.judged = replace(found, status="invalid", problem=problem)
            else:
                state.messages = prompting.again(state.messages, text, problem)
                state.form = _lower(state.form)


def _from(form: Form) -> tuple[Form, ...]:
    """A form and those below it."""
    return FORMS[FORMS.index(form) :]


def _lower(form: Form) -> Form:
    return _from(form)[:2][-1]


def _refused(reply: Reply) -> bool:
    """Whether the server does not take the request as it is."""
    return reply.status == "error" and (reply.problem or "").startswith(REFUSED)


def _cut(text: str, request: Request) -> str:
    why = "" if text.strip() else ": reasoning may have used them up"
    return f", and ended at max_tokens {request.sampling.max_tokens}{why}"
