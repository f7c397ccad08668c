"""Make a language model with two layers and random weights, and register it in MLflow.

    python make.py

No weights are downloaded. A model of the Hugging Face hub is logged in the same way:

    pipeline = transformers.pipeline("text-generation", model="org/name")
    mlflow.transformers.log_model(pipeline, name="chat", task="llm/v1/chat")
"""

from __future__ import annotations

import mlflow
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEXTS = ["good morning, and how are you?", "the model answers the question"]
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level, as GPT's and Llama's: it has a token for every text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=["<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama, with weights by chance."""
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


mlflow.set_tracking_uri("sqlite:///mlflow.db")
tokenizer = make_tokenizer()
with mlflow.start_run(run_name="tiny-chat"):
    mlflow.transformers.log_model(
        {"model": make_model(tokenizer), "tokenizer": tokenizer},
        name="chat",
        task="llm/v1/chat",
        registered_model_name="tiny-chat",
        pip_requirements=["torch", "transformers"],
    )
print("registered tiny-chat version 1")
