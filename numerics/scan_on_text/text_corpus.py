r"""Text as windows of words: the made-up corpus, a local file in WikiText's format, or the data set of that name.

Words are separated by white space, one paragraph or heading a line; every line that is not empty ends with <eos>. The
vocabulary holds the most frequent words, first the most frequent (equal ones by their letters), and <unk> for all
others; a written <unk> is kept as that.

Main objects
    Corpus             words as whole numbers, and the vocabulary
    corpus_of          from a text
    text_corpus        from a local UTF-8 file, or from the installed package `datasets`
    windows            x_1 .. x_T and the next word, (count, T + 1)
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

UNKNOWN, END = "<unk>", "<eos>"
LARGEST = 600_000_000  # bytes of a file; WikiText-103 has 540 million
WIKITEXT = ("Salesforce/wikitext", "wikitext-2-v1")


class TextError(ValueError):
    """A text that cannot be used; one sentence with the mend."""


@dataclass(frozen=True)
class Corpus:
    """tokens (length,) as places in the vocabulary; vocabulary: the words, <unk> among them."""

    tokens: torch.Tensor
    vocabulary: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    def windows(self, length: int, stride: int = 1) -> torch.Tensor:
        """Every stride-th run of T = length words with the next one, (count, T + 1). Raises TextError."""
        if len(self) < length + 1:
            raise TextError(f"need more than {length} words for one window, got {len(self)}; give a longer text")
        return self.tokens.unfold(0, length + 1, stride)

    def parts(self, count: int) -> list[Corpus]:
        """Runs of equal length that have no word in common. Raises TextError."""
        size = len(self) // count
        if size < 1:
            raise TextError(f"need at least one word for each of {count} parts, got {len(self)}; ask for fewer parts")
        return [Corpus(self.tokens[k * size : (k + 1) * size], self.vocabulary) for k in range(count)]

    def words(self, tokens: Iterable[int]) -> list[str]:
        """As written."""
        return [self.vocabulary[token] for token in tokens]


def corpus_of(text: str, size: int) -> Corpus:
    """A text with a vocabulary of at most `size` words, <unk> included. Raises TextError.

    >>> corpus = corpus_of("a b a\\n\\nc a", 4)
    >>> corpus.vocabulary, corpus.tokens.tolist()
    (('a', '<eos>', 'b', '<unk>'), [0, 2, 0, 1, 3, 0, 1])
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 2:
        raise TextError(f"need a vocabulary of at least 2 words, <unk> among them, got {size!r}; give a larger one")
    words = [word for line in text.split("\n") if line.split() for word in (*line.split(), END)]
    if not words:
        raise TextError("need a text with words, got an empty one; give one paragraph a line")
    counts = Counter(words)
    counts.pop(UNKNOWN, None)
    kept = sorted(counts, key=lambda word: (-counts[word], word))[: size - 1]
    vocabulary = (*kept, UNKNOWN)
    place = {word: k for k, word in enumerate(vocabulary)}
    return Corpus(torch.tensor([place.get(word, len(kept)) for word in words]), vocabulary)


def text_corpus(path: str | Path, size: int) -> Corpus:
    """The corpus of a UTF-8 file; the path "datasets" asks for WikiText-2 of the package `datasets`.

    Raises TextError.
    """
    return corpus_of(wikitext() if str(path) == "datasets" else text_of_file(Path(path)), size)


def text_of_file(path: Path) -> str:
    """The content of a text file. Raises TextError."""
    try:
        if not path.is_file():  # a pipe would be waited for
            raise TextError(f"need a text file, and {path} is none; give a file with one paragraph a line")
        if path.stat().st_size > LARGEST:
            raise TextError(f"need at most {LARGEST} bytes of text, got {path.stat().st_size}; cut the file {path}")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TextError(f"need UTF-8, and {path} is not from byte {error.start} on; save it as UTF-8") from None
    except OSError as error:
        raise TextError(f"need a file that can be read, got {path} ({error.strerror}); give another one") from None
    if "\0" in text:
        raise TextError(f"need plain text, and {path} holds zero bytes; give a file with one paragraph a line")
    return text


def wikitext() -> str:
    """The training part of WikiText-2, words as it has them. Raises TextError without the package or its data."""
    try:
        loaded = importlib.import_module("datasets").load_dataset(*WIKITEXT, split="train")
    except ImportError:
        raise TextError("need the package datasets for WikiText; install it, or give a local text file") from None
    except Exception as error:  # whatever a loader of data sets that is not there raises
        raise TextError(f"need the data set {WIKITEXT[1]}, and datasets has none: {error}; give a local file") from None
    return "".join(row["text"] if row["text"].endswith("\n") else row["text"] + "\n" for row in loaded)
