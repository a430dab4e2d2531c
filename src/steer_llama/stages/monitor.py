"""``monitor``: how far the residual stream lies along vectors, token by token, of any text or conversation.

Shapes: A axes (a vector at a layer), T tokens.
"""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steer_llama.config import ModelSettings
from steer_llama.evaluation.along import Centre, averages, colour_scale, massive_tokens
from steer_llama.lm import projection
from steer_llama.lm.load import LanguageModel, load_model
from steer_llama.lm.pieces import Cut, cut
from steer_llama.lm.projection import project
from steer_llama.lm.tokens import check_context
from steer_llama.lm.transcript import Transcript, encode_conversation, encode_text
from steer_llama.progress import Reporter
from steer_llama.records import Averages, Axis, Monitored, MonitoredMessage, MonitoredText, Part
from steer_llama.stages.axes import Chosen
from steer_llama.stages.transcripts import Talk

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

RAW = "text"
"""The role of a text without a chat template."""
ANSWERS = "assistant"
_DIGITS = 7
"""Of the numbers that are written: what float32 holds."""


def monitor(
    chosen: Sequence[Chosen],
    model_settings: ModelSettings,
    talks: Sequence[Talk],
    reporter: Reporter,
    *,
    centre: Centre = "median",
    any_model: bool = False,
) -> Monitored:
    """Project every token of every text onto every vector at its layer, one pass a text.

    Raises:
        VectorError: a vector is not for this model, or zero at its layer.
        LayerError: a vector has no such layer.
        ContextLengthError: a text is longer than the model's context.
        ModelError: the chat template does not show a conversation as it is.
    """
    axes = [projection.Axis.along(each.layer, each.vector.direction_D(each.layer)) for each in chosen]
    model = load_model(model_settings, reporter)
    for each in chosen:
        fingerprint = each.vector.model_fingerprint if any_model else model.fingerprint
        each.vector.check_fits(model.name, fingerprint, model.n_layers, model.width)
    seen = []
    for talk in talks:  # all of them before the first is run, so that a flaw is told at once
        transcript = _encoded(model, talk)
        check_context(len(transcript.ids), model.context_length, talk.name)
        seen.append(_Unread(talk, transcript))
    texts = []
    with reporter.task("reading", sum(len(each.transcript.ids) for each in seen), "tokens") as advance:
        for unread in seen:
            found = project(model, unread.transcript.ids, axes)
            massive_AT = np.stack([massive_tokens(norm_T) for norm_T in found.norm_AT])
            texts.append(_Seen(unread.talk, unread.transcript, found.along_AT, found.norm_AT, massive_AT))
            advance(len(unread.transcript.ids))
    scales = [_scale(each, index, texts, centre) for index, each in enumerate(chosen)]
    for axis in scales:
        told = (
            ""
            if axis.residual_norm_from == "vector"
            else "; it has no residual norm, so strengths are over this text's"
        )
        reporter.note(f"{axis.name}: layer {axis.layer} ({axis.layer_reason}){told}")
    norms = [axis.residual_norm for axis in scales]
    return Monitored(
        model=model.name,
        model_fingerprint=model.fingerprint,
        raw=any(talk.raw is not None for talk in talks),
        axes=tuple(scales),
        texts=tuple(_told(each, norms) for each in texts),
        roles=_by_role(texts, norms),
    )


@dataclass(frozen=True)
class _Unread:
    talk: Talk
    transcript: Transcript


@dataclass(frozen=True, eq=False)
class _Seen:
    """A text and what was found at its tokens."""

    talk: Talk
    transcript: Transcript
    along_AT: Floats
    norm_AT: Floats
    massive_AT: Mask

    @property
    def roles(self) -> list[str]:
        return [RAW] if self.talk.raw is not None else [message["role"] for message in self.talk.messages]

    @functools.cached_property
    def tokens(self) -> list[slice]:
        """Each message's."""
        return [slice(*self.transcript.tokens_of(content)) for content in self.transcript.contents]

    def of(self, role: str | None) -> npt.NDArray[np.intp]:
        """The tokens of a role's messages, or of all."""
        places = np.arange(len(self.transcript.ids))
        kept = [places[part] for part, who in zip(self.tokens, self.roles, strict=True) if role in (None, who)]
        return np.concatenate(kept) if kept else places[:0]


def _encoded(model: LanguageModel, talk: Talk) -> Transcript:
    if talk.raw is not None:
        return encode_text(model.tokenizer, talk.raw)
    return encode_conversation(model.tokenizer, talk.messages)


def _scale(chosen: Chosen, index: int, texts: Sequence[_Seen], centre: Centre) -> Axis:
    """The axis with its units and its colours, for which the answers count, or all messages where there are none."""
    answered = any(len(text.of(ANSWERS)) for text in texts)
    role, what = (ANSWERS, "the answers' tokens") if answered else (None, "the messages' tokens")
    base = [(text, (places := text.of(role))[~text.massive_AT[index, places]]) for text in texts]
    along_T = np.concatenate([text.along_AT[index, places] for text, places in base])
    if chosen.vector.residual_norm_L is not None:
        norm = chosen.vector.residual_norm(chosen.layer)
    else:
        norms_T = np.concatenate([text.norm_AT[index, places] for text, places in base])
        norm = float(norms_T.mean()) if len(norms_T) else 1.0
    middle, limit = colour_scale(along_T / norm, centre)
    shown = [(text, (places := text.of(None))[~text.massive_AT[index, places]]) for text in texts]
    beyond = sum(int((np.abs(text.along_AT[index, places] / norm - middle) > limit).sum()) for text, places in shown)
    return Axis(
        name=chosen.name,
        file=str(chosen.file),
        trait=chosen.vector.trait,
        layer=chosen.layer,
        layer_reason=chosen.reason,
        direction_norm=float(np.linalg.norm(chosen.vector.direction_D(chosen.layer).astype(np.float64))),
        residual_norm=norm,
        residual_norm_from="text" if chosen.vector.residual_norm_L is None else "vector",
        centre=middle,
        centre_from="zero" if centre == "zero" else f"median of {what}",
        limit=limit,
        limit_from=f"98% of {what} lie within",
        beyond=beyond,
    )


def _told(seen: _Seen, residual_norm_A: Sequence[float]) -> MonitoredText:
    transcript = seen.transcript
    strength_AT = seen.along_AT / np.asarray(residual_norm_A)[:, None]
    messages = []
    for role, (start, end), tokens in zip(seen.roles, transcript.contents, seen.tokens, strict=True):
        means = averages(seen.along_AT[:, tokens], seen.massive_AT[:, tokens], residual_norm_A)
        messages.append(
            MonitoredMessage(
                role=role, start=start, end=end, first_token=tokens.start, stop_token=tokens.stop, averages=means
            )
        )
    ends = [place for content in transcript.contents for place in content]
    return MonitoredText(
        name=seen.talk.name,
        text=transcript.text,
        token_ids=transcript.ids,
        token_spans=transcript.spans,
        projection=_rounded(seen.along_AT),
        strength=_rounded(strength_AT),
        massive=tuple(tuple(np.flatnonzero(massive_T).tolist()) for massive_T in seen.massive_AT),
        parts=_parts(cut(transcript.text, transcript.spans, ends), transcript),
        messages=tuple(messages),
        roles=_by_role([seen], residual_norm_A),
    )


def _parts(cuts: Sequence[Cut], transcript: Transcript) -> tuple[Part, ...]:
    """Parts in the order of the text, each with the message that it stands in."""
    order = sorted(range(len(transcript.contents)), key=transcript.contents.__getitem__)
    parts = []
    for each in cuts:
        while order and transcript.contents[order[0]][1] <= each.start:
            order.pop(0)
        inside = bool(order) and transcript.contents[order[0]][0] <= each.start
        message = order[0] if inside else None
        parts.append(Part(start=each.start, end=each.end, tokens=each.tokens, message=message))
    return tuple(parts)


def _by_role(texts: Sequence[_Seen], residual_norm_A: Sequence[float]) -> dict[str, Averages]:
    found = {}
    for role in dict.fromkeys(role for text in texts for role in text.roles):
        along_AT = np.concatenate([text.along_AT[:, text.of(role)] for text in texts], axis=1)
        massive_AT = np.concatenate([text.massive_AT[:, text.of(role)] for text in texts], axis=1)
        found[role] = averages(along_AT, massive_AT, residual_norm_A)
    return found


def _rounded(values_AT: Iterable[Iterable[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(f"{value:.{_DIGITS}g}") for value in values_T) for values_T in values_AT)
