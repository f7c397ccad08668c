"""A language model of ours behind OpenAI's protocol: bytes in, status and bytes out, like `scoring.Scorer`.

One thread runs the model, one request at a time and in their order. For each, torch uses all CPUs
of the entity: Ray passes `num_cpus` on as `OMP_NUM_THREADS`. More replicas answer more callers at once.
"""

from __future__ import annotations

import base64
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, NamedTuple

from lifecycle_as_code.serving import llm
from lifecycle_as_code.serving.answer import JSON, Answer
from lifecycle_as_code.serving.language import source as sources
from lifecycle_as_code.serving.language.embedder import Embedder
from lifecycle_as_code.serving.language.generator import End, Generator, TemplateError
from lifecycle_as_code.serving.language.request import Chat, Completion, Embedding, Message, read, refusal

_logger = logging.getLogger(__name__)

# OpenAI's, and vLLM's: a chat goes on until the model ends it or its context is full
_COMPLETION_TOKENS = 16
_TRIAL = "Hello"

_CANCELLED = llm.error(499, "CANCELLED", "The caller left before the answer was complete.")


class _Piece(NamedTuple):
    """Text of the answer to one prompt, or its end."""

    prompt: int
    text: str
    end: End | None = None


_Pieces = SimpleQueue[_Piece | BaseException | None]
"""What the model's thread hands over; None comes last."""


class EventStream(Iterator[bytes]):
    """Server-sent events. `close` ends the generation, from any thread, also while another one waits for an
    event. So does dropping the last reference.
    """

    def __init__(self, events: Iterator[bytes], pieces: _Pieces, cancelled: threading.Event) -> None:
        self._events = events
        self._pieces = pieces
        self._cancelled = cancelled

    def __next__(self) -> bytes:
        return next(self._events)

    def close(self) -> None:
        """Stop. The model's thread ends with the token that it computes now."""
        self._cancelled.set()
        self._pieces.put(None)

    def __del__(self) -> None:
        self.close()


class LanguageModel:
    """A loaded model. `score` and `stream` block, and may be called from several threads."""

    def __init__(self, engine: Generator | Embedder, task: llm.Task, name: str) -> None:
        self._engine = engine
        self._task: llm.Task = task
        self._name = name
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="lac-language")

    @classmethod
    def load(cls, source: str, task: llm.Task, name: str = "") -> LanguageModel:
        """Load the model that `source` names (see `source.fetch`), and let it make one token.

        `name` stands in answers to requests without `model`; by default what `source` calls the model.
        ValueError for a model that can't do the task; else what transformers, the hub or MLflow raises.
        """
        files = sources.fetch(source)
        embeds = task == "llm/v1/embeddings"
        engine = Embedder.load(files) if embeds else Generator.load(files)
        model = cls(engine, task, name or files.name)
        model._try_out()
        return model

    def _try_out(self) -> None:
        """One token, so that a model that loads and can't answer fails before it gets traffic."""
        alone = threading.Event()
        if isinstance(self._engine, Embedder):
            self._engine.count_tokens([_TRIAL])
            self._engine.embed([_TRIAL], alone)
            return
        if self._task == "llm/v1/chat":
            if not self._engine.chats:
                raise ValueError(
                    f"The tokenizer of {self._name} has no chat template, which llm/v1/chat needs. "
                    "Set its `chat_template`, or serve the model as llm/v1/completions."
                )
            prompt = self._engine.encode_chat([Message(role="user", content=_TRIAL)])
        else:
            prompt = self._engine.encode_text(_TRIAL)
        request = Completion(prompt=[_TRIAL], temperature=0)
        self._engine.generate(prompt, request, 1, lambda _: None, alone, continues=False)

    def score(
        self, body: bytes, content_type: str | None, cancelled: threading.Event | None = None
    ) -> Answer:
        """Answer one request as a whole. Setting `cancelled` ends the generation: nobody waits for it."""
        if isinstance(call := self._read(body, content_type), Answer):
            return call
        cancelled = cancelled or threading.Event()
        if isinstance(call, Embedding):
            return self._worker.submit(self._embed, call, cancelled).result()
        request, prompts = call
        texts, ends = [""] * len(prompts), {}
        pieces = self._start(request, prompts, cancelled)
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                return _failure(piece)
            texts[piece.prompt] += piece.text
            if piece.end:
                ends[piece.prompt] = piece.end
        if cancelled.is_set():
            return _CANCELLED
        is_chat = isinstance(request, Chat)
        choices = []
        for index, text in enumerate(texts):
            content = (
                {"message": {"role": "assistant", "content": text, "refusal": None}}
                if is_chat
                else {"text": text}
            )
            choices.append(
                {"index": index, **content, "logprobs": None, "finish_reason": ends[index].finish_reason}
            )
        head = self._head(request, "chat.completion" if is_chat else "text_completion")
        usage = _usage(prompts, sum(end.tokens for end in ends.values()))
        return _json({**head, "choices": choices, "usage": usage})

    def score_inline(self, body: bytes, content_type: str | None) -> Answer | None:
        """None: no answer of a language model is quick enough for an event loop."""
        return None

    def streams(self, body: bytes) -> bool:
        """Whether the request says `"stream": true`. Then call `stream`."""
        return b'"stream"' in body and llm.read(body).get("stream") is True

    def stream(
        self, body: bytes, content_type: str | None, cancelled: threading.Event | None = None
    ) -> Answer | Iterator[bytes]:
        """The answer in OpenAI's events: an `EventStream`, once the model has begun to answer.

        What fails before is an Answer with a status of its own. The usage comes with the end of the last
        choice, or in an event after it where `stream_options` say `include_usage`.
        """
        call = self._read(body, content_type)
        if isinstance(call, Answer):
            return call
        if isinstance(call, Embedding):
            return self.score(body, content_type)
        request, prompts = call
        cancelled = cancelled or threading.Event()
        pieces = self._start(request, prompts, cancelled)
        first = pieces.get()
        if isinstance(first, BaseException):
            return _failure(first)
        if first is None:
            return _CANCELLED
        events = _events(self._head, request, prompts, first, pieces, cancelled)
        return EventStream(events, pieces, cancelled)

    def _read(
        self, body: bytes, content_type: str | None
    ) -> Answer | Embedding | tuple[Chat | Completion, list[list[int]]]:
        """The request, with its prompts' tokens; or a refusal."""
        if (content_type or "").partition(";")[0].strip() != JSON:
            return llm.error(415, "BAD_REQUEST", f"Language models take {JSON}.")
        request = read(self._task, body)
        if isinstance(request, Answer | Embedding):
            return request
        assert isinstance(self._engine, Generator)
        if too_long := self._check_size(request):
            return too_long
        try:
            if isinstance(request, Chat):
                prompts = [self._engine.encode_chat(request.messages)]
            else:
                prompts = [self._engine.encode_text(prompt) for prompt in request.prompt]
        except TemplateError as e:
            return refusal("messages", f"the model's chat template refuses them: {e}")
        except Exception as e:
            return _failure(e)
        for prompt in prompts:
            if not prompt:
                return refusal("prompt", "it has no tokens.")
            if max(prompt) >= self._engine.vocabulary:
                # tokens that were added to the tokenizer alone
                return refusal("prompt", f"the model doesn't know token {max(prompt)} of its tokenizer.")
            if too_long := self._check_length(request, len(prompt)):
                return too_long
        return request, prompts

    def _check_size(self, request: Chat | Completion | Embedding) -> Answer | None:
        """A refusal of what can't fit: to count its tokens would take minutes of CPU."""
        match request:
            case Chat():
                name, size = "messages", sum(len(message.content) for message in request.messages)
            case Completion():
                name, size = "prompt", max(map(len, request.prompt))
            case Embedding():
                name, size = "input", max(map(len, request.input))
        if self._engine.context is None or size <= self._engine.context * _CHARACTERS:
            return None
        return refusal(
            name,
            f"The model's context has {self._engine.context} tokens. The request has {size} characters.",
            "context_length_exceeded",
        )

    def _check_length(self, request: Chat | Completion, tokens: int) -> Answer | None:
        context, wanted = self._engine.context, _max_tokens(request)
        if context is None or tokens + (wanted or 1) <= context:
            return None
        is_chat = isinstance(request, Chat)
        answer = f" and {wanted} for the answer" if wanted else ""
        return refusal(
            "messages" if is_chat else "prompt",
            f"The model's context has {context} tokens. The request has {tokens} in its "
            f"{'messages' if is_chat else 'prompt'}{answer}.",
            "context_length_exceeded",
        )

    def _start(
        self, request: Chat | Completion, prompts: list[list[int]], cancelled: threading.Event
    ) -> _Pieces:
        """Queue a generation."""
        engine = self._engine
        assert isinstance(engine, Generator)
        pieces: _Pieces = SimpleQueue()

        def emit(index: int) -> Callable[[str], None]:
            return lambda text: pieces.put(_Piece(index, text))

        def run() -> None:
            try:
                for index, prompt in enumerate(prompts):
                    if cancelled.is_set():
                        break
                    room = engine.context - len(prompt) if engine.context else _ENDLESS
                    end = engine.generate(
                        prompt,
                        request,
                        _max_tokens(request) or room,
                        emit(index),
                        cancelled,
                        continues=isinstance(request, Completion),
                    )
                    pieces.put(_Piece(index, "", end))
            except BaseException as e:
                _logger.exception("A generation failed")
                pieces.put(e)
            pieces.put(None)

        self._worker.submit(run)
        return pieces

    def _embed(self, request: Embedding, cancelled: threading.Event) -> Answer:
        engine = self._engine
        assert isinstance(engine, Embedder)
        if too_long := self._check_size(request):
            return too_long
        try:
            counts = engine.count_tokens(request.input)
            if engine.context and max(counts) > engine.context:
                return refusal(
                    "input",
                    f"The model's context has {engine.context} tokens. The longest text has {max(counts)}.",
                    "context_length_exceeded",
                )
            rows = engine.embed(request.input, cancelled)
        except BaseException as e:
            _logger.exception("Embedding failed")
            return _failure(e)
        if cancelled.is_set():
            return _CANCELLED
        encode = _base64 if request.encoding_format == "base64" else _numbers
        data = [
            {"object": "embedding", "index": index, "embedding": encode(row)}
            for index, row in enumerate(rows)
        ]
        usage = {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
        return _json({"object": "list", "data": data, "model": request.model or self._name, "usage": usage})

    def _head(self, request: Chat | Completion, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl" if isinstance(request, Chat) else "cmpl"
        return {
            "id": f"{prefix}-{uuid.uuid4().hex}",
            "object": kind,
            "created": int(time.time()),
            "model": request.model or self._name,
        }


_ENDLESS = 4096
"""Tokens of an answer by a model that doesn't say how long its context is."""
_CHARACTERS = 32
"""More than a token has in any text but one of blanks alone: four are usual."""


def _events(
    head_of: Callable[[Chat | Completion, str], dict[str, Any]],
    request: Chat | Completion,
    prompts: list[list[int]],
    first: _Piece,
    pieces: _Pieces,
    cancelled: threading.Event,
) -> Iterator[bytes]:
    """The events of a stream, up to `[DONE]`; without an end where it was cancelled."""
    is_chat = isinstance(request, Chat)
    head = head_of(request, "chat.completion.chunk" if is_chat else "text_completion")
    apart = request.stream_options.include_usage

    def chunk(index: int, text: str | None, reason: str | None, **usage: Any) -> bytes:
        content: dict[str, Any] = {"text": text or ""}
        if is_chat:
            content = {"delta": {} if text is None else {"content": text}}
        choice = {"index": index, **content, "logprobs": None, "finish_reason": reason}
        return llm.event({**head, "choices": [choice], **usage})

    if is_chat:
        delta = {"role": "assistant", "content": "", "refusal": None}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        yield llm.event({**head, "choices": [choice]})
    piece: _Piece | BaseException | None = first
    tokens = 0
    while piece is not None:
        if isinstance(piece, BaseException):
            yield llm.event(_error(piece))
            break
        if piece.end is None:
            yield chunk(piece.prompt, piece.text, None)
        else:
            tokens += piece.end.tokens
            is_last = piece.prompt == len(prompts) - 1
            usage = {"usage": _usage(prompts, tokens)} if is_last and not apart else {}
            if not cancelled.is_set():
                yield chunk(piece.prompt, None, piece.end.finish_reason, **usage)
        piece = pieces.get()
    if cancelled.is_set():
        return
    if apart and piece is None:
        yield llm.event({**head, "choices": [], "usage": _usage(prompts, tokens)})
    yield llm.DONE


def _max_tokens(request: Chat | Completion) -> int | None:
    if isinstance(request, Chat):
        return request.max_completion_tokens or request.max_tokens
    return request.max_tokens or _COMPLETION_TOKENS


def _usage(prompts: list[list[int]], completion: int) -> dict[str, int]:
    prompt = sum(map(len, prompts))
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _numbers(row: Any) -> list[float]:
    numbers: list[float] = row.tolist()
    return numbers


def _base64(row: Any) -> str:
    """As the `openai` client reads it: little-endian float32."""
    return base64.b64encode(row.tobytes()).decode()


def _json(value: dict[str, Any]) -> Answer:
    return Answer(200, JSON, llm.write(value))


def _failure(e: BaseException) -> Answer:
    return llm.error(500, "INTERNAL_ERROR", f"{type(e).__name__}: {e}")


def _error(e: BaseException) -> dict[str, Any]:
    return llm.read(_failure(e).body)
