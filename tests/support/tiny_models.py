"""Language models with two layers and random weights, made on the spot: they answer, if not to the point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEXTS = ["good morning, and how are you?", "the model answers the question", "größer als 3 € – naïve?"]
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.content == 'refuse' %}{{ raise_exception('no such talk') }}{% endif %}"
    "<|{{ message.role }}|>{{ message.content }}</s>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"]
CONTEXT = 96
"""Tokens of a prompt and its answer."""


def chat_tokenizer(template: str | None = TEMPLATE) -> Any:
    """Byte-level, so that a character may be several tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 5, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", chat_template=template
    )


def chat_model(tokenizer: Any, context: int = CONTEXT) -> Any:
    """A Llama of 40,000 weights. Where it chooses the likeliest token, it never comes to an end by itself."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=context,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    if tokenizer.eos_token_id is not None:
        with torch.no_grad():
            model.lm_head.weight[tokenizer.eos_token_id].zero_()
    return model


def save_chat_folder(path: Path, template: str | None = TEMPLATE, context: int = CONTEXT) -> Path:
    """A folder as the hub has them."""
    tokenizer = chat_tokenizer(template)
    tokenizer.save_pretrained(path)
    chat_model(tokenizer, context).save_pretrained(path)
    return path


def save_encoder_folder(path: Path) -> Path:
    """A BERT with its tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(" ".join(TEXTS).split())]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=16
    )
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    fast.save_pretrained(path)
    BertModel(config).save_pretrained(path)
    return path
