"""Tiny models answer in OpenAI's shapes: whole and in events, with exact counts, and never past a stop."""

from __future__ import annotations

import base64
import functools
import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import tiny_models

from lifecycle_as_code.serving.answer import JSON, Answer
from lifecycle_as_code.serving.language import source
from lifecycle_as_code.serving.language.generator import Generator
from lifecycle_as_code.serving.language.model import EventStream, LanguageModel

pytestmark = pytest.mark.filterwarnings("ignore")

HELLO = [{"role": "user", "content": "good morning"}]
PROMPT = "the model answers"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save_chat_folder(tmp_path_factory.mktemp("hub") / "tiny-chat")


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as MLflow saves it."""
    import mlflow.transformers

    tokenizer = tiny_models.chat_tokenizer()
    path = tmp_path_factory.mktemp("mlflow") / "tiny-chat"
    model = {"model": tiny_models.chat_model(tokenizer), "tokenizer": tokenizer}
    mlflow.transformers.save_model(model, path, task="llm/v1/chat", pip_requirements=["transformers"])
    return path


@pytest.fixture(scope="module")
def chat(registered: Path) -> LanguageModel:
    return LanguageModel.load(str(registered), "llm/v1/chat")


@pytest.fixture(scope="module")
def completions(folder: Path) -> LanguageModel:
    return LanguageModel.load(str(folder), "llm/v1/completions")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save_encoder_folder(tmp_path_factory.mktemp("hub") / "tiny-encoder")


@pytest.fixture(scope="module")
def embeddings(encoder: Path) -> LanguageModel:
    return LanguageModel.load(str(encoder), "llm/v1/embeddings")


def ask(model: LanguageModel, /, **request: Any) -> dict[str, Any]:
    answer = model.score(json.dumps(request).encode(), JSON)
    assert answer.status == 200, answer
    content: dict[str, Any] = json.loads(answer.body)
    return content


def refusal(model: LanguageModel, /, **request: Any) -> dict[str, Any]:
    answer = model.score(json.dumps(request).encode(), JSON)
    assert answer.status == 400, answer
    content: dict[str, Any] = json.loads(answer.body)["error"]
    return content


def stream(model: LanguageModel, /, **request: Any) -> Iterator[bytes]:
    body = json.dumps({**request, "stream": True}).encode()
    assert model.streams(body)
    answer = model.stream(body, JSON)
    assert not isinstance(answer, Answer), answer
    return answer


def events(model: LanguageModel, /, **request: Any) -> list[dict[str, Any]]:
    texts = [*stream(model, **request)]
    assert texts.pop() == b"data: [DONE]\n\n"
    return [json.loads(text.removeprefix(b"data: ")) for text in texts]


def generator(model: LanguageModel) -> Any:
    assert isinstance(model._engine, Generator)
    return model._engine


def greedy_tokens(model: LanguageModel, prompt: list[int], count: int) -> list[int]:
    """By transformers alone."""
    import torch

    ids = torch.tensor([prompt])
    tokens = generator(model)._model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=count
    )
    return [*map(int, tokens[0, len(prompt) :])]


# whole answers


def test_a_chat_is_what_transformers_generates(chat: LanguageModel) -> None:
    answer = ask(chat, messages=HELLO, temperature=0, max_tokens=20)
    tokenizer = generator(chat)._tokenizer
    prompt = tokenizer("<|user|>good morning</s><|assistant|>", add_special_tokens=False)["input_ids"]
    tokens = greedy_tokens(chat, prompt, 20)
    [choice] = answer["choices"]
    assert choice["message"]["content"] == tokenizer.decode(tokens, skip_special_tokens=True)
    assert choice["finish_reason"] == "length"
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "tiny-chat"
    assert answer["usage"] == {
        "prompt_tokens": len(prompt),
        "completion_tokens": 20,
        "total_tokens": len(prompt) + 20,
    }


def test_a_chat_without_a_limit_fills_the_context(chat: LanguageModel) -> None:
    answer = ask(chat, model="mine", messages=HELLO, temperature=0)
    assert answer["usage"]["total_tokens"] == tiny_models.CONTEXT
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["model"] == "mine"


def test_each_prompt_gets_a_choice(completions: LanguageModel) -> None:
    prompts = [PROMPT, "good", PROMPT]
    answer = ask(completions, prompt=prompts, temperature=0, max_tokens=5)
    first, second, third = answer["choices"]
    assert [first["index"], second["index"], third["index"]] == [0, 1, 2]
    assert first["text"] == third["text"] != second["text"]
    assert answer["object"] == "text_completion"
    assert answer["usage"]["completion_tokens"] == 15
    assert answer["usage"]["prompt_tokens"] == sum(
        len(generator(completions).encode_text(prompt)) for prompt in prompts
    )


def test_a_completion_has_16_tokens_by_default(completions: LanguageModel) -> None:
    assert ask(completions, prompt=PROMPT, temperature=0)["usage"]["completion_tokens"] == 16


def test_a_completion_goes_on_where_its_prompt_ends(encoder: Path) -> None:
    from transformers import AutoTokenizer

    # its words have no spaces of their own
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    words = Generator(tiny_models.chat_model(tokenizer), tokenizer)
    model = LanguageModel(words, "llm/v1/completions", "words")
    text = ask(model, prompt="good morning,", seed=1, max_tokens=16)["choices"][0]["text"]
    assert text.startswith(" ")


def test_the_models_end_ends_an_answer(folder: Path) -> None:
    model = LanguageModel.load(str(folder), "llm/v1/completions")
    tokens = greedy_tokens(model, generator(model).encode_text(PROMPT), 12)
    end = tokens.index(tokens[8])
    generator(model)._ends.add(tokens[end])
    answer = ask(model, prompt=PROMPT, temperature=0)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == end + 1
    assert answer["choices"][0]["text"] == generator(model)._decode(tokens[:end])


def test_a_seed_repeats_an_answer(chat: LanguageModel) -> None:
    def text(**more: Any) -> str:
        content: str = ask(chat, messages=HELLO, max_tokens=20, **more)["choices"][0]["message"]["content"]
        return content

    assert text(seed=1) == text(seed=1) != text(seed=2)
    # and leaves all others to chance
    assert text() != text(seed=1) != text()
    assert len({(text(seed=1), text()) for _ in range(2)}) == 2
    assert text(temperature=1.5, top_p=1e-9, seed=1) == text(temperature=0)


# stop sequences


def test_the_smallest_temperature_is_greedy(chat: LanguageModel) -> None:
    answers = [
        ask(chat, messages=HELLO, temperature=temperature, max_tokens=6)["choices"]
        for temperature in (0, 1e-300, 1e-45, 1e-6)
    ]
    assert answers == answers[:1] * 4


def test_a_token_that_only_the_tokenizer_knows_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny_models.chat_tokenizer()
    model = tiny_models.chat_model(tokenizer)
    tokenizer.add_tokens(["<image>"])
    tokenizer.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    chat = LanguageModel.load(str(tmp_path), "llm/v1/chat")
    error = refusal(chat, messages=[{"role": "user", "content": "an <image>"}])
    assert error["message"] == f"prompt: the model doesn't know token {len(tokenizer) - 1} of its tokenizer."
    assert ask(chat, messages=HELLO, max_tokens=1)["usage"]["completion_tokens"] == 1


def test_a_stop_sequence_across_tokens_is_never_shown(completions: LanguageModel) -> None:
    request = {"prompt": PROMPT, "temperature": 0, "max_tokens": 40}
    text = ask(completions, **request)["choices"][0]["text"]
    for start in range(0, len(text) - 3, 3):
        stop = text[start : start + 3]
        if "�" in stop:
            continue
        answer = ask(completions, **request, stop=[stop, "never said"])
        [choice] = answer["choices"]
        assert (choice["text"], choice["finish_reason"]) == (text[: text.index(stop)], "stop")
        assert answer["usage"]["completion_tokens"] <= 40
        parts = [event["choices"][0]["text"] for event in events(completions, **request, stop=stop)]
        assert "".join(parts) == choice["text"]


def test_what_only_begins_like_a_stop_sequence_is_shown(completions: LanguageModel) -> None:
    request = {"prompt": PROMPT, "temperature": 0, "max_tokens": 10}
    text = ask(completions, **request)["choices"][0]["text"]
    assert ask(completions, **request, stop=f"{text[-2:]}…")["choices"][0]["text"] == text


# streams


@pytest.mark.parametrize("more", [{}, {"max_tokens": 7}, {"stop": "the"}, {"seed": 4, "temperature": 1}])
def test_a_stream_says_what_the_whole_answer_says(chat: LanguageModel, more: dict[str, Any]) -> None:
    request = {"messages": HELLO, "temperature": 0, "max_tokens": 30, **more}
    whole = ask(chat, **request)
    first, *middle, last = events(chat, **request)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    deltas = [event["choices"][0] for event in middle]
    assert all(
        delta["finish_reason"] is None and "usage" not in event
        for delta, event in zip(deltas, middle, strict=True)
    )
    [choice] = whole["choices"]
    assert "".join(delta["delta"]["content"] for delta in deltas) == choice["message"]["content"]
    assert last["choices"][0]["delta"] == {}
    assert last["choices"][0]["finish_reason"] == choice["finish_reason"]
    assert last["usage"] == whole["usage"]
    assert {event["object"] for event in [first, *middle, last]} == {"chat.completion.chunk"}
    assert len({event["id"] for event in [first, *middle, last]}) == 1


def test_the_usage_comes_in_an_event_of_its_own_where_asked_for(completions: LanguageModel) -> None:
    request = {"prompt": [PROMPT, "good"], "temperature": 0, "max_tokens": 4}
    *others, last = events(completions, **request, stream_options={"include_usage": True})
    assert last["choices"] == []
    assert last["usage"] == ask(completions, **request)["usage"]
    assert not any("usage" in event for event in others)
    ends = [c for event in others for c in event["choices"] if c["finish_reason"]]
    assert [choice["index"] for choice in ends] == [0, 1]


class Gate:
    """Stands before each of a model's passes: one token a ticket."""

    def __init__(self, model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passes = 0
        self._tickets = threading.Semaphore(0)
        forward = generator(model)._model.forward

        @functools.wraps(forward)
        def gated(*args: Any, **kwargs: Any) -> Any:
            self._tickets.acquire()
            self.passes += 1
            return forward(*args, **kwargs)

        monkeypatch.setattr(generator(model)._model, "forward", gated)

    def let(self, tokens: int) -> None:
        self._tickets.release(tokens)


@pytest.fixture
def gate(chat: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(chat, monkeypatch)


def body(**more: Any) -> bytes:
    return json.dumps({"messages": HELLO, "temperature": 0, **more}).encode()


def test_a_client_that_leaves_ends_the_generation(chat: LanguageModel, gate: Gate) -> None:
    gate.let(5)
    answer = chat.stream(body(stream=True), JSON)
    assert isinstance(answer, EventStream)
    answer.close()
    gate.let(1000)
    assert not any(b"length" in event or b"DONE" in event for event in answer)
    # the next in the queue is answered
    ask(chat, messages=HELLO, max_tokens=1)
    assert gate.passes <= 7


def test_a_stream_that_waits_can_be_closed(chat: LanguageModel, gate: Gate) -> None:
    gate.let(5)
    answer = chat.stream(body(stream=True), JSON)
    assert isinstance(answer, EventStream)
    with ThreadPoolExecutor(1) as thread:
        rest = thread.submit(list, answer)
        answer.close()
        rest.result()
        assert gate.passes <= 5
    gate.let(1000)


def test_a_stream_that_nobody_holds_ends_too(chat: LanguageModel, gate: Gate) -> None:
    gate.let(5)
    answer = chat.stream(body(stream=True), JSON)
    assert isinstance(answer, EventStream)
    del answer
    gate.let(1000)
    ask(chat, messages=HELLO, max_tokens=1)
    assert gate.passes <= 7


def test_whole_answers_can_be_cancelled_at_work_and_in_the_queue(chat: LanguageModel, gate: Gate) -> None:
    cancelled = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(chat.score, body(), JSON, cancelled) for _ in range(2)]
        cancelled.set()
        gate.let(1000)
        assert [answer.result().status for answer in answers] == [499, 499]
    assert gate.passes <= 1


def test_concurrent_callers_get_their_own_answers(chat: LanguageModel) -> None:
    texts = ["good", "morning", "the model", "größer als 3 €", "question", "naïve?"]
    requests = [
        {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 8}
        for text in texts * 3
    ]

    def text_of(answer: dict[str, Any]) -> str:
        text: str = answer["choices"][0]["message"]["content"]
        return text

    alone = {text: text_of(ask(chat, **request)) for text, request in zip(texts, requests, strict=False)}
    with ThreadPoolExecutor(8) as threads:
        together = [*threads.map(lambda request: text_of(ask(chat, **request)), requests)]
    assert together == [alone[text] for text in texts * 3]


def test_a_failure_is_told_before_and_within_a_stream(
    chat: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, calls = generator(chat)._decode, iter(range(100))

    def failing(at: int) -> Any:
        def decode_or_fail(tokens: list[int]) -> str:
            if next(calls) >= at:
                raise RuntimeError("out of words")
            text: str = decode(tokens)
            return text

        return decode_or_fail

    monkeypatch.setattr(generator(chat), "_decode", failing(0))
    answer = chat.stream(body(stream=True), JSON)
    assert isinstance(answer, Answer)
    assert (answer.status, json.loads(answer.body)["error"]["message"]) == (500, "RuntimeError: out of words")
    assert chat.score(body(), JSON).status == 500
    calls = iter(range(100))
    monkeypatch.setattr(generator(chat), "_decode", failing(20))
    *_, last = events(chat, messages=HELLO, temperature=0)
    assert last["error"]["message"] == "RuntimeError: out of words"


# refusals


def test_what_exceeds_the_context_is_refused(chat: LanguageModel, completions: LanguageModel) -> None:
    long = [{"role": "user", "content": "€" * 100}]
    for error in (
        refusal(chat, messages=long),
        refusal(chat, messages=HELLO, max_tokens=tiny_models.CONTEXT),
        refusal(completions, prompt=["good", PROMPT * 40]),
    ):
        assert error["code"] == "context_length_exceeded"
        assert f"{tiny_models.CONTEXT} tokens" in error["message"]
    # far too long to be counted
    for error in (
        refusal(chat, messages=[{"role": "user", "content": "good " * 2**20}]),
        refusal(completions, prompt=["good", "good " * 2**20]),
    ):
        assert error["code"] == "context_length_exceeded"
        assert "5242880 characters" in error["message"]
    tokens = len(generator(completions).encode_text(PROMPT))
    fitting = ask(completions, prompt=PROMPT, temperature=0, max_tokens=tiny_models.CONTEXT - tokens)
    assert fitting["usage"]["total_tokens"] == tiny_models.CONTEXT


def test_a_template_may_refuse(chat: LanguageModel) -> None:
    error = refusal(chat, messages=[{"role": "user", "content": "refuse"}])
    assert error["param"] == "messages"
    assert "no such talk" in error["message"]


def test_a_stream_s_refusal_has_a_status(chat: LanguageModel) -> None:
    answer = chat.stream(body(stream=True, n=2), JSON)
    assert isinstance(answer, Answer)
    assert answer.status == 400


@pytest.mark.parametrize("content_type", [None, "text/csv", "application/x-www-form-urlencoded"])
def test_another_content_type_is_refused(chat: LanguageModel, content_type: str | None) -> None:
    assert chat.score(body(), content_type).status == 415
    assert chat.score(body(max_tokens=1), f"{JSON}; charset=utf-8").status == 200


def test_an_ordinary_request_is_no_stream(chat: LanguageModel) -> None:
    for text in (b"{", b"[]", body(), body(stream=False), b'{"messages": ""stream": true"}'):
        assert not chat.streams(text)
    assert chat.score_inline(body(), JSON) is None


# embeddings


def test_an_embedding_is_the_mean_of_the_last_layer(embeddings: LanguageModel, encoder: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = ["good morning,", "the model answers the question", "unknown"]
    answer = ask(embeddings, input=texts)
    tokenizer, model = AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder)
    tokens = [tokenizer(text, return_tensors="pt") for text in texts]
    with torch.no_grad():
        expected = [model(**each).last_hidden_state[0].mean(0).numpy() for each in tokens]
    assert [row["index"] for row in answer["data"]] == [0, 1, 2]
    np.testing.assert_allclose([row["embedding"] for row in answer["data"]], expected, atol=1e-5)
    count = sum(each["input_ids"].shape[1] for each in tokens)
    assert answer["usage"] == {"prompt_tokens": count, "total_tokens": count}
    assert answer["model"] == "tiny-encoder"


def test_an_embedding_in_base64_is_the_same(embeddings: LanguageModel) -> None:
    [numbers] = ask(embeddings, input="good")["data"]
    [packed] = ask(embeddings, input=["good"], encoding_format="base64")["data"]
    row = np.frombuffer(base64.b64decode(packed["embedding"]), "<f4")
    assert row.tolist() == numbers["embedding"]


def test_a_text_that_would_be_cut_is_refused(embeddings: LanguageModel) -> None:
    assert ask(embeddings, input="good " * 14)["usage"]["total_tokens"] == 16
    error = refusal(embeddings, input=["good", "good " * 15])
    assert (error["param"], error["code"]) == ("input", "context_length_exceeded")
    assert "5242880 characters" in refusal(embeddings, input="good " * 2**20)["message"]


def test_a_registered_sentence_transformer_embeds_by_its_own_pipeline(encoder: Path, tmp_path: Path) -> None:
    import mlflow.sentence_transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    transformer = Transformer(str(encoder))
    pooling = Pooling(transformer.get_embedding_dimension(), "cls")
    model = SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu")
    path = tmp_path / "tiny-embeddings"
    mlflow.sentence_transformers.save_model(model, path, pip_requirements=[])
    served = LanguageModel.load(str(path), "llm/v1/embeddings")
    texts = ["good morning,"] * 40
    rows = [row["embedding"] for row in ask(served, input=texts)["data"]]
    np.testing.assert_allclose(rows, model.encode(texts), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_a_registered_encoder_embeds_by_the_mean(encoder: Path, tmp_path: Path) -> None:
    import mlflow.transformers
    from transformers import AutoModel, AutoTokenizer

    parts = {"model": AutoModel.from_pretrained(encoder), "tokenizer": AutoTokenizer.from_pretrained(encoder)}
    mlflow.transformers.save_model(parts, tmp_path / "m", task="feature-extraction", pip_requirements=["x"])
    served = LanguageModel.load(str(tmp_path / "m"), "llm/v1/embeddings")
    plain = LanguageModel.load(str(encoder), "llm/v1/embeddings")
    assert ask(served, input="good")["data"] == ask(plain, input="good")["data"]


# sources


def test_weights_that_torch_pickled_are_refused(folder: Path, tmp_path: Path) -> None:
    import torch

    path = shutil.copytree(folder, tmp_path / "m")
    (path / "model.safetensors").unlink()
    torch.save({}, path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin.*save_pretrained"):
        LanguageModel.load(str(path), "llm/v1/chat")
    (path / "pytorch_model.bin").unlink()
    with pytest.raises(ValueError, match="no weights as safetensors"):
        LanguageModel.load(str(path), "llm/v1/chat")


def test_a_model_s_own_code_never_runs(folder: Path, tmp_path: Path) -> None:
    path = shutil.copytree(folder, tmp_path / "m")
    config = json.loads((path / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"}}
    (path / "config.json").write_text(json.dumps(config))
    (path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ValueError, match="trust_remote_code"):
        LanguageModel.load(str(path), "llm/v1/chat")
    assert not (tmp_path / "ran").exists()


def test_a_chat_needs_a_template(tmp_path: Path) -> None:
    path = tiny_models.save_chat_folder(tmp_path / "base", template=None)
    with pytest.raises(ValueError, match="no chat template"):
        LanguageModel.load(str(path), "llm/v1/chat")
    assert ask(LanguageModel.load(str(path), "llm/v1/completions"), prompt=PROMPT)


def test_weights_are_never_made_up(encoder: Path) -> None:
    with pytest.raises(ValueError, match=r"tiny-encoder has no weights for cls.*BertLMHeadModel"):
        LanguageModel.load(str(encoder), "llm/v1/completions")


@pytest.mark.parametrize("pipeline", [True, False])
def test_an_encoders_weights_are_never_made_up(encoder: Path, tmp_path: Path, pipeline: bool) -> None:
    folder = tmp_path / "tiny-encoder"
    shutil.copytree(encoder, folder)
    if pipeline:
        from sentence_transformers import SentenceTransformer

        SentenceTransformer(str(encoder), device="cpu").save_pretrained(str(folder))
    LanguageModel.load(str(folder), "llm/v1/embeddings")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(ValueError, match=r"tiny-encoder has no weights for .* other parts of a BertModel\.$"):
        LanguageModel.load(str(folder), "llm/v1/embeddings")


def test_a_model_that_loads_and_cant_answer_doesnt_load(folder: Path, tmp_path: Path) -> None:
    path = shutil.copytree(folder, tmp_path / "m")
    (path / "chat_template.jinja").write_text("{{ raise_exception('never') }}")
    with pytest.raises(ValueError, match="never"):
        LanguageModel.load(str(path), "llm/v1/chat")


def test_what_is_no_language_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"neither an MLflow model nor a Hugging Face model"):
        source.fetch(str(tmp_path))
    (tmp_path / "MLmodel").write_text("flavors: {sklearn: {}, python_function: {}}\n")
    with pytest.raises(ValueError, match="has the flavors: python_function, sklearn"):
        source.fetch(str(tmp_path))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"flavors": {"transformers": {"peft_adaptor": "peft"}}}, "PEFT adapter"),
        (
            {"flavors": {"transformers": {"model_binary": "m"}}, "metadata": {"prompt_template": "{}"}},
            "prompt_template",
        ),
    ],
)
def test_what_would_change_the_answers_is_refused(more: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(json.dumps(more))
    with pytest.raises(ValueError, match=message):
        source.fetch(str(tmp_path))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This node's copies of the hub's repositories, with the hub out of reach."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_a_copy_of_the_hubs_serves_without_the_hub(hub: Path, folder: Path) -> None:
    repository = hub / "models--acme--tiny-chat"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, repository / "snapshots" / ("0" * 40))
    model = LanguageModel.load("hf://acme/tiny-chat", "llm/v1/chat")
    assert ask(model, messages=HELLO, max_tokens=1)["model"] == "acme/tiny-chat"


@pytest.mark.usefixtures("hub")
def test_without_the_hub_and_a_copy_the_error_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"hf://acme/absent isn't on this node.*HF_HUB_OFFLINE"):
        source.fetch("hf://acme/absent")
    with pytest.raises(ValueError, match="isn't the name of a repository"):
        source.fetch("hf://acme/a/b")


@pytest.mark.parametrize(
    ("uri", "name"),
    [("models:/tiny/3", "tiny"), ("models:/tiny@champion", "tiny"), ("s3://bucket/a/tiny/", "tiny")],
)
def test_a_source_has_a_name(uri: str, name: str) -> None:
    assert source._name(uri) == name


# OpenAI's own client


@pytest.fixture
def server() -> Iterator[tuple[dict[str, LanguageModel], str]]:
    """The models behind HTTP, by their routes; and its address."""
    models: dict[str, LanguageModel] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            model, media_type = models[self.path.removeprefix("/v1/")], self.headers["Content-Type"]
            outcome = (model.stream if model.streams(content) else model.score)(content, media_type)
            answer = outcome if isinstance(outcome, Answer) else Answer(200, "text/event-stream", b"")
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.media_type)
            self.end_headers()
            self.wfile.write(answer.body)
            for event in () if isinstance(outcome, Answer) else outcome:
                self.wfile.write(event)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield models, f"http://127.0.0.1:{http.server_port}/v1"
        http.shutdown()
        thread.join()


def test_openais_client_reads_the_answers(
    server: tuple[dict[str, LanguageModel], str],
    chat: LanguageModel,
    completions: LanguageModel,
    embeddings: LanguageModel,
) -> None:
    import httpx
    import openai

    models, address = server
    models |= {"chat/completions": chat, "completions": completions, "embeddings": embeddings}
    client = openai.OpenAI(
        base_url=address, api_key="none", max_retries=0, http_client=httpx.Client(trust_env=False)
    )
    options: dict[str, Any] = {"model": "tiny", "temperature": 0, "max_tokens": 8}
    whole = client.chat.completions.create(messages=HELLO, **options)
    parts = [*client.chat.completions.create(messages=HELLO, stream=True, **options)]
    text = "".join(part.choices[0].delta.content or "" for part in parts)
    assert text == whole.choices[0].message.content
    assert parts[-1].usage == whole.usage
    assert client.completions.create(prompt=PROMPT, **options).usage.completion_tokens == 8
    # the client asks for base64, and unpacks it
    [row] = client.embeddings.create(model="tiny", input="good").data
    assert row.embedding == ask(embeddings, input="good")["data"][0]["embedding"]
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(messages=HELLO, model="tiny", max_tokens=1000)
    assert error.value.code == "context_length_exceeded"
