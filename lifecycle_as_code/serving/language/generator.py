"""A causal language model of the transformers library, on CPU: tokens in, text out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from lifecycle_as_code.serving.language.request import Generation, Message
from lifecycle_as_code.serving.language.source import Files
from lifecycle_as_code.serving.language.transcript import Stop, Transcript

# of the defaults that come with a model, those that say how it chooses tokens; with others, such as beams, it
# would take back what was sent
_DEFAULTS = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "suppress_tokens",
    "begin_suppress_tokens",
    "bad_words_ids",
    "bos_token_id",
)


# as vLLM's: what is below is greedy, and a number that is smaller still overflows
_GREEDY = 1e-5


class TemplateError(ValueError):
    """The chat template refuses the messages; the text is the template's own."""


@dataclass(frozen=True, slots=True)
class End:
    """How a generation ended, and how many tokens it made: each one, an end-of-sequence token too."""

    finish_reason: Literal["stop", "length"]
    tokens: int


class Generator:
    """A loaded model. `encode_*` may be called from several threads, `generate` from one at a time.

    The attribute `context` is the number of tokens that prompt and answer may have together; None where the
    model doesn't say. `vocabulary`: tokens from this number on are unknown to the model.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        from transformers import GenerationConfig

        self._model = model
        self._tokenizer = tokenizer
        self.context = _context(model.config, tokenizer)
        self.vocabulary: int = model.get_input_embeddings().weight.shape[0]
        defaults = model.generation_config
        self._ends = _token_ids(defaults.eos_token_id) | _token_ids(tokenizer.eos_token_id)
        kept = {name: getattr(defaults, name, None) for name in _DEFAULTS}
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(self._ends, default=0)
        # `generate` takes from here what a request leaves open
        model.generation_config = GenerationConfig(
            **kept, eos_token_id=sorted(self._ends) or None, pad_token_id=padding
        )
        self._defaults = model.generation_config

    @classmethod
    def load(cls, files: Files) -> Generator:
        """Load safetensors, as the type that they are stored in. Runs no code of the model's.

        ValueError where weights are missing: transformers would make them up.
        """
        silence_libraries()
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        options = {"trust_remote_code": False, "local_files_only": True}
        tokenizer = AutoTokenizer.from_pretrained(files.tokenizer, **options)
        model, report = AutoModelForCausalLM.from_pretrained(
            files.model, use_safetensors=True, dtype="auto", output_loading_info=True, **options
        )
        if missing := sorted(report["missing_keys"]):
            raise ValueError(
                describe_missing(missing, model, files.name) + ". Is it a model that generates text?"
            )
        # torch starts every process with the same seed: replicas would all draw the same
        torch.seed()
        return cls(model.eval(), tokenizer)

    @property
    def chats(self) -> bool:
        """Whether the tokenizer has a chat template."""
        return bool(self._tokenizer.chat_template)

    def encode_chat(self, messages: list[Message]) -> list[int]:
        """The tokens of a chat, up to where the model answers. TemplateError where the template refuses."""
        from jinja2 import TemplateError as JinjaError

        # OpenAI's newer name of the same role
        rows = [
            {**message.model_dump(exclude_none=True), "role": message.role.replace("developer", "system")}
            for message in messages
        ]
        try:
            text = self._tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=True)
        except JinjaError as e:
            raise TemplateError(str(e)) from e
        # the template writes the special tokens itself
        return self._encode(text, special=False)

    def encode_text(self, text: str) -> list[int]:
        """The tokens of a prompt; a model that needs a first token gets it."""
        tokens = self._encode(text, special=True)
        first = self._tokenizer.bos_token_id
        return tokens or ([first] if first is not None else [])

    def _encode(self, text: str, *, special: bool) -> list[int]:
        # the first call switches truncation and padding off for good, so that threads may share the tokenizer
        return list(self._tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])

    def generate(
        self,
        prompt: list[int],
        request: Generation,
        limit: int,
        emit: Callable[[str], None],
        cancelled: threading.Event,
        *,
        continues: bool,
    ) -> End:
        """Generate up to `limit` tokens. `emit` gets the text in parts, none of them empty.

        Ends after the next token once `cancelled` is set: the first token takes as long as the whole prompt.
        `continues`: the text goes on where the prompt's ends, with a space where one belongs.
        """
        import torch

        transcript = Transcript(self._decode, prompt if continues else ())
        stop = Stop(request.stop)
        count, ended = 0, False

        def show(text: str) -> None:
            if text := stop.add(text):
                emit(text)

        def watch(tokens: Any, *_: Any, **__: Any) -> Any:
            nonlocal count, ended
            count += 1
            token = int(tokens[0, -1])
            ended = token in self._ends
            if not ended:
                show(transcript.add(token))
            return torch.tensor([ended or stop.reached or cancelled.is_set()])

        with torch.random.fork_rng(devices=[], enabled=request.seed is not None):
            if request.seed is not None:
                torch.manual_seed(request.seed)
            self._model.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                generation_config=self._sampling(request, limit),
                stopping_criteria=[watch],
            )
        if not stop.reached:
            show(transcript.finish())
        if rest := stop.finish():
            emit(rest)
        return End("stop" if ended or stop.reached else "length", count)

    def _decode(self, tokens: list[int]) -> str:
        text: str = self._tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _sampling(self, request: Generation, limit: int) -> Any:
        """What a request asks for, else the model's own default, else OpenAI's."""
        from transformers import GenerationConfig

        def choose(value: Any, name: str, otherwise: Any) -> Any:
            default = getattr(self._defaults, name)
            return value if value is not None else default if default is not None else otherwise

        temperature = choose(request.temperature, "temperature", 1.0)
        if temperature < _GREEDY:
            return GenerationConfig(max_new_tokens=limit, do_sample=False)
        return GenerationConfig(
            max_new_tokens=limit,
            do_sample=True,
            temperature=float(temperature),
            top_p=float(choose(request.top_p, "top_p", 1.0)),
            # 50 otherwise, by transformers' own default
            top_k=choose(None, "top_k", 0),
        )


def _context(config: Any, tokenizer: Any) -> int | None:
    text = config.get_text_config()
    # the tokenizers that don't know say 10³⁰
    lengths = (getattr(text, "max_position_embeddings", None), tokenizer.model_max_length)
    known = [length for length in lengths if isinstance(length, int) and 0 < length < 10**9]
    return known[0] if known else None


def _token_ids(value: int | list[int] | None) -> set[int]:
    return set() if value is None else {value} if isinstance(value, int) else {*value}


def describe_missing(keys: list[str], model: Any, name: str) -> str:
    """That a model has no weights for these of its parts, in words."""
    others = f" and {len(keys) - 1} other parts" if len(keys) > 1 else ""
    return f"{name} has no weights for {keys[0]}{others} of a {type(model).__name__}"


def silence_libraries() -> None:
    """Without progress bars and advice in a replica's log, and without asking the hub to convert weights."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"
    # threads of the tokenizer's own don't survive a fork, and torch has what CPUs there are
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
