"""A chat model in this process: a random one with our own template, every token a byte."""

from pathlib import Path

import pytest

from companion.errors import CompanionError
from companion.models.endpoint import Budget, Endpoint, Question, ask_questions
from companion.models.local import LocalModel

MESSAGES = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
TEMPLATE = MESSAGES + "{% if add_generation_prompt %}<a>{% endif %}"
WITHOUT_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = ["<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(tmp_path)
    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(alphabet), max_position_embeddings=512, eos_token_id=0, **sizes)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("template", "tokens"), [(TEMPLATE, 17), (WITHOUT_SYSTEM, 11)])
def test_prompts_follow_the_template(folder: Path, template: str, tokens: int):
    (folder / "chat_template.jinja").write_text(template)
    (text, prompt, written), again = LocalModel(str(folder), None).generate_answers([("Be.", "Hi?"), ("Be.", "Hi?")], 6)
    assert (text, prompt, written) == again
    assert prompt == tokens + len("Be.Hi?") and 0 <= written <= 6


def test_a_model_that_does_not_chat(folder: Path):
    with pytest.raises(CompanionError, match="has no chat template: name an instruction-tuned model"):
        LocalModel(str(folder), None)


def test_answers_are_kept_and_asked_once(folder: Path, tmp_path: Path):
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    endpoint, told = Endpoint(None, str(folder), parallel=2, answer_tokens=5), []
    asked = [Question(endpoint.name, "Be.", f"q{number}") for number in range(5)]
    file = tmp_path / endpoint.file
    answers = ask_questions(endpoint, asked, file, Budget(0), lambda done, total: told.append((done, total)))
    assert told == [(done, 5) for done in range(1, 6)] and len(answers) == 5
    before = file.read_bytes()
    assert ask_questions(endpoint, asked, file, Budget(0)) == answers and file.read_bytes() == before


def test_a_revision_is_part_of_the_name():
    local = Endpoint(None, "org/model", revision="0123456789ab" + "c" * 28)
    assert local.name == "org/model@0123456789ab" and local.file == "org_model_0123456789ab.jsonl"
    with pytest.raises(ValueError, match="revision is for a model that is loaded here"):
        Endpoint("http://localhost/v1", "m", revision="1")
