"""The made-up text is the one of its grammar, and texts of others are read or refused with a reason."""

import hashlib
import importlib
import types
from collections import Counter
from pathlib import Path

import pytest
from scipy.stats import binom

from iclcheck.numerics.scan_on_text import made_up_text as made_up
from iclcheck.numerics.scan_on_text.text_corpus import UNKNOWN, TextError, corpus_of, text_corpus


def test_the_shipped_text_has_its_hash_and_size() -> None:
    data = made_up.made_up_text().encode()
    assert hashlib.sha256(data).hexdigest() == made_up.SHA256
    assert 100_000 < len(data) < 300_000
    assert data != made_up.made_up_text("another").encode()


def test_the_lines_are_headings_and_paragraphs_of_whole_sentences() -> None:
    lines = made_up.made_up_text("lines", 8).splitlines()
    assert len(lines) == 8 * (1 + made_up.PARAGRAPHS)
    for k, line in enumerate(lines):
        assert line[0] == line[-1] == " "
        if k % (1 + made_up.PARAGRAPHS) == 0:
            assert line.startswith(" = ")
            assert line.endswith(" = ")
            assert line.split()[1] in made_up.TOPICS
        else:
            assert line.split().count(".") == made_up.SENTENCES
            assert line.endswith(" . ")


def words_by_topic() -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {topic: Counter() for topic in made_up.TOPICS}
    topic = ""
    for line in made_up.made_up_text().splitlines():
        if line.startswith(" ="):
            topic = line.split()[1]
        else:
            found[topic].update(line.split())
    return found


def test_shares_of_words_add_up_to_one_and_are_those_of_the_text() -> None:
    """Given how many words of a kind there are, the count of one word is binomial; 1e-9 for each of 8 x 60 counts."""
    counted = words_by_topic()
    for topic, counts in counted.items():
        shares = made_up.word_shares(topic)
        assert sum(shares.values()) == 1
        assert set(counts) <= set(shares)
        lists = [*(made_up.TOPICS[topic][k] + made_up.GENERAL[k] for k in "NVA"), made_up.DETERMINERS]
        for words in lists:
            whole, expected = sum(counts[word] for word in words), sum(shares[word] for word in words)
            for word in words:
                p = float(shares[word] / expected)
                assert binom.ppf(5e-10, whole, p) <= counts[word] <= binom.isf(5e-10, whole, p), (topic, word)
    # teeth: the same bounds refuse equal shares for the first and the last noun
    nouns = [counted["Harbour"][word] for word in made_up.TOPICS["Harbour"]["N"]]
    assert nouns[0] > binom.isf(5e-10, sum(nouns), 1 / len(nouns))


def test_every_word_is_of_one_kind_only() -> None:
    words = [*made_up.topic_words(), *(word for kind in made_up.GENERAL.values() for word in kind)]
    words += [*made_up.DETERMINERS, *made_up.PREPOSITIONS, "and", "."]
    assert len(words) == len(set(words))
    assert len(made_up.topic_words()) == sum(
        len(words) for kinds in made_up.TOPICS.values() for words in kinds.values()
    )


def test_a_file_in_wikitexts_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "wiki.txt"
    path.write_text(" \n = Café = \n\n the <unk> of the café \n the end \n", encoding="utf-8")
    corpus = text_corpus(path, 5)
    assert corpus.vocabulary == ("<eos>", "the", "=", "Café", UNKNOWN)
    assert corpus.words(corpus.tokens.tolist()) == (
        ["=", "Café", "=", "<eos>", "the", "<unk>", "<unk>", "the", "<unk>", "<eos>", "the", "<unk>", "<eos>"]
    )
    assert corpus.windows(3, stride=2).tolist()[1] == corpus.tokens[2:6].tolist()


def test_parts_have_no_place_in_common() -> None:
    corpus = corpus_of("a b c d e f g h i j", 20)
    parts = corpus.parts(3)
    assert [len(part) for part in parts] == [3, 3, 3]
    assert [word for part in parts for word in part.words(part.tokens.tolist())] == list("abcdefghi")


def test_unusable_texts_are_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"latin": "caf\xe9".encode("latin-1"), "empty": b"", "blank": b" \n\n", "zeros": b"a\0b"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    expected = {"latin": "need UTF-8", "empty": "with words", "blank": "with words", "zeros": "zero bytes"}
    for name, said in {**expected, "missing": "need a text file", ".": "need a text file"}.items():
        with pytest.raises(TextError, match=said) as refused:
            text_corpus(tmp_path / name, 10)
        assert "\n" not in str(refused.value)
    with pytest.raises(TextError, match="at least 2 words"):
        corpus_of("a b", 1)
    with pytest.raises(TextError, match="more than 8 words"):
        corpus_of("a b", 5).windows(8)
    with pytest.raises(TextError, match="each of 9 parts"):
        corpus_of("a b", 5).parts(9)
    monkeypatch.setattr(importlib, "import_module", refuse_import)
    with pytest.raises(TextError, match="need the package datasets"):
        text_corpus("datasets", 10)


def refuse_import(name: str) -> types.ModuleType:
    raise ImportError(name)


def test_the_data_set_is_read_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": ""}, {"text": " = A = \n"}, {"text": " b <unk> \n"}]
    module = types.SimpleNamespace(load_dataset=lambda *names, split: rows if split == "train" else [])
    monkeypatch.setattr(importlib, "import_module", lambda name: module)
    assert text_corpus("datasets", 9).words(text_corpus("datasets", 9).tokens.tolist())[:4] == ["=", "A", "=", "<eos>"]

    def broken(*names: str, split: str) -> None:
        raise ConnectionError("no way")

    module.load_dataset = broken
    with pytest.raises(TextError, match="no way"):
        text_corpus("datasets", 9)
