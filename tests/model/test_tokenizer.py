"""Equal to transformers' tokenizer on code; user text cannot forge control tokens; streams never break a character."""

from __future__ import annotations

import inspect
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holefill.model.errors import CheckpointError, NoFimTokensError
from holefill.model.gguf_header import read_gguf_metadata
from holefill.model.loading import load_tokenizer
from holefill.model.tokenizer import PRE_TOKENIZERS, Tokenizer

if TYPE_CHECKING:
    from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer

REPOSITORY = Path(__file__).resolve().parents[2]
QWEN_STOPS = (
    *("<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|file_sep|>", "<|repo_name|>", "<|im_end|>"),
)
HARD = [
    "def f(x):\n\treturn 'it''s' + \"I'LL\"\r\n",
    "x = 1234567890 ** 3.14e-10  # naïve café, 世界, 🎉🏽, Ω≈ç√",
    "cafe\u0301 \u212b ｆｕｌｌ",  # NFC changes the first two
    "   \n\n \t \n    if a:  \n",
    "a" * 300 + "___" + " " * 77 + "}" * 9,
    "<|fim_prefix|> </s> <tool_call>",
    "\x00\x1f\x7f \u200b\ufeff\u2028",
    "",
]


@pytest.fixture(scope="module")
def qwen(default_model_path: Path) -> Tokenizer:
    return load_tokenizer(default_model_path)


@pytest.fixture(scope="module")
def reference_reader(default_model_path: Path) -> gguf.GGUFReader:
    return gguf.GGUFReader(default_model_path)


@pytest.fixture(scope="module")
def oracle(reference_reader: gguf.GGUFReader) -> Qwen2Tokenizer:
    """transformers' own Qwen2 tokenizer over the file's vocabulary, control tokens included."""
    from transformers import AddedToken
    from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer

    tokens, types, merges = (
        reference_reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type", "merges")
    )
    theirs = Qwen2Tokenizer(
        vocab={token: id_ for id_, token in enumerate(tokens)},
        merges=[tuple(merge.split(" ")) for merge in merges],  # type: ignore[misc]  # it takes pairs, its type says str
    )
    special = [token for token, kind in zip(tokens, types, strict=True) if kind in (3, 4)]
    theirs.add_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return theirs


def sources() -> list[str]:
    files = sorted(REPOSITORY.glob("*/**/*.py"))[:60]
    return [path.read_text("utf-8")[:20000] for path in files if ".venv" not in path.parts]


@pytest.mark.model
def test_equals_transformers_on_code(qwen: Tokenizer, oracle: Qwen2Tokenizer) -> None:
    for text in [*sources(), *HARD]:
        assert qwen.encode_prompt(text) == oracle(text)["input_ids"]
        assert qwen.decode(qwen.encode(text)) == unicodedata.normalize("NFC", text)
    for text in sources():
        prompt = f"<|repo_name|>r<|file_sep|>a.py\n<|fim_prefix|>{text}<|fim_suffix|>\n}}<|fim_middle|>"
        assert qwen.encode_prompt(prompt) == oracle(prompt)["input_ids"]


@pytest.mark.model
def test_golden_ids(qwen: Tokenizer) -> None:
    """Published ids of the family, so that oracle and tokenizer cannot be wrong together."""
    assert qwen.vocab_size == 151936
    assert qwen.encode("def f(x):\n    return x") == [750, 282, 2075, 982, 262, 470, 856]
    assert qwen.encode("12 345") == [16, 17, 220, 18, 19, 20]
    assert qwen.special_id("<|fim_middle|>") == 151660
    assert qwen.special_id("def") is None
    assert qwen.fim_ids() == (151659, 151661, 151660)
    assert qwen.stop_ids == {qwen.special_id(name) for name in QWEN_STOPS}
    assert qwen.bos_id is None


@pytest.mark.model
def test_json_gives_the_same_as_gguf(qwen: Tokenizer, oracle: Qwen2Tokenizer, tmp_path: Path) -> None:
    oracle.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": 151936, "eos_token_id": 151645}')
    ours = Tokenizer.load(tmp_path)
    for text in [*sources()[:20], *HARD]:
        assert ours.encode(text) == qwen.encode(text)
        assert ours.encode_prompt(text) == qwen.encode_prompt(text)
        assert ours.decode(ours.encode(text)) == unicodedata.normalize("NFC", text)
    assert (ours.vocab_size, ours.stop_ids, ours.fim_ids()) == (qwen.vocab_size, qwen.stop_ids, qwen.fim_ids())


@pytest.mark.model
def test_user_text_cannot_forge_a_control_token(qwen: Tokenizer) -> None:
    control = set(qwen.specials.values())
    for spelling in qwen.specials:
        ids = qwen.encode(f"x = '{spelling}'")
        assert not control & set(ids)
        assert qwen.decode(ids) == f"x = '{spelling}'"
    assert qwen.decode(qwen.encode("half \ud83d")) == "half ?"


@pytest.mark.model
def test_loads_from_the_header_alone(qwen: Tokenizer, default_model_path: Path) -> None:
    """0.3 s of one core here; reading it with gguf-py takes 6 s. The bound only tells these two apart."""
    start = time.thread_time()
    Tokenizer.load(default_model_path)
    assert time.thread_time() - start < 3


@pytest.mark.model
@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40))
def test_streaming_equals_decoding(qwen: Tokenizer, text: str) -> None:
    stream = qwen.stream()
    ids = qwen.encode(text)
    pieces = [stream.push(id_) for id_ in ids]
    assert not any("�" in piece for piece in pieces) or "�" in text
    assert "".join(pieces) + stream.finish() == qwen.decode(ids) == unicodedata.normalize("NFC", text)


def test_a_character_cut_off_is_marked_once_at_the_end(byte_tokenizer: Tokenizer) -> None:
    stream = byte_tokenizer.stream()
    assert [stream.push(byte) for byte in "é".encode() + "🎉".encode()[:3]] == ["", "é", "", "", ""]
    assert stream.finish() == "�"


def test_patterns_are_the_publishers() -> None:
    """Llama 3's is the default of transformers' tiktoken converter; Qwen's is in its tokenizer."""
    from transformers.convert_slow_tokenizer import TikTokenConverter
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    llama = inspect.signature(TikTokenConverter).parameters["pattern"].default
    assert PRE_TOKENIZERS["llama-bpe"].pattern == llama
    assert PRE_TOKENIZERS["qwen2"].pattern == PRETOKENIZE_REGEX


def write_gguf(path: Path, **changes: Any) -> Path:
    """A llama-bpe tokenizer of 256 bytes, one merge and two control tokens."""
    tokens = [*_bytes(), "ab", "<s>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>"]
    values: dict[str, Any] = {"pre": "llama-bpe", "model": "gpt2", "merges": ["a b"], "add_bos": True, "tokens": tokens}
    values |= changes
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(values["model"])
    writer.add_tokenizer_pre(values["pre"])
    writer.add_token_list(values["tokens"])
    writer.add_token_types([1] * 257 + [3] * (len(values["tokens"]) - 257))
    writer.add_token_merges(values["merges"])
    writer.add_bos_token_id(257)
    writer.add_add_bos_token(values["add_bos"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def _bytes() -> list[str]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    alphabet: Callable[[], dict[int, str]] = bytes_to_unicode
    return list(alphabet().values())


def test_llama_bpe_from_gguf(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_gguf(tmp_path / "tiny.gguf"))
    assert tokenizer.decode(tokenizer.encode("abc\n é <s>")) == "abc\n é <s>"
    assert tokenizer.encode("ab") == [256]
    assert tokenizer.encode_prompt("<s>ab") == [257, 256]
    assert tokenizer.bos_id == 257
    assert tokenizer.fim_ids() == (258, 259, 260)
    assert tokenizer.stop_ids == {258, 259, 260}


def test_what_gguf_does_not_say_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        Tokenizer.load(write_gguf(tmp_path / "odd.gguf", pre="deepseek-coder"))
    with pytest.raises(CheckpointError, match="damaged vocabulary"):
        Tokenizer.load(write_gguf(tmp_path / "bad.gguf", merges=["a qq"]))
    with pytest.raises(NoFimTokensError, match="choose a code model"):
        load_tokenizer(write_gguf(tmp_path / "chat.gguf", tokens=[*_bytes(), "ab", "<s>", "<|user|>"]))


@pytest.mark.parametrize("kept", [0, 3, 8, 30, 100, 3000])
def test_a_truncated_gguf_is_a_clear_error(tmp_path: Path, kept: int) -> None:
    path = write_gguf(tmp_path / "whole.gguf")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"cut\.gguf"):
        Tokenizer.load(cut)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": 3}'])
def test_a_damaged_tokenizer_json_is_a_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json"):
        Tokenizer.load(tmp_path)
    with pytest.raises(CheckpointError, match="cannot read"):
        Tokenizer.load(tmp_path / "none.gguf")


@pytest.mark.model
def test_header_equals_the_reference_reader(default_model_path: Path, reference_reader: gguf.GGUFReader) -> None:
    ours = read_gguf_metadata(default_model_path)
    fields = {name: field for name, field in reference_reader.fields.items() if not name.startswith("GGUF.")}
    assert set(ours) == set(fields)
    for name, field in fields.items():
        value = ours[name]
        assert (list(value) if isinstance(value, tuple) else value) == field.contents(), name


def test_the_language_server_side_imports_no_torch() -> None:
    modules = ["tokenizer", "stops", "request", "cancel", "errors", "store", "serving.client", "serving.launch"]
    code = "import sys\n" + "".join(f"import holefill.model.{name}\n" for name in modules)
    code += "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
