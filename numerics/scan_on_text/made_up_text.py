r"""A made-up corpus of plain text in WikiText's layout, whose true statistics are known.

The text consists of articles, each on one topic: a line " = Topic = " and paragraphs, one a line, of sentences
    S = NP V NP [and V NP] [P NP] .        NP = D [A] N
in which a bracket comes with the probability in `CHANCES`. D, P and "and" are function words, the same in all topics.
N, V and A are drawn from the words of the topic, or with the rest of the probability from general ones; the k-th word
of a list has a weight of 1/k. So function words are common tokens, words of a topic are distinct to it, and general
words are in between.

Main statements
    made_up_text       the text of a key: the same bytes everywhere
    word_shares        the exact expected share of each word among the words of a sentence on a topic
    SHA256             of the shipped text, made_up_text()
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from itertools import accumulate

DETERMINERS = ("the", "a", "this")
PREPOSITIONS = ("of", "in", "with", "near", "from")
GENERAL = {
    "N": ("thing", "place", "day", "part", "name", "side", "year", "hand"),
    "V": ("has", "takes", "makes", "shows", "leaves", "finds"),
    "A": ("old", "new", "small", "long", "good"),
}
TOPICS = {
    "Harbour": {
        "N": ("ship", "sailor", "anchor", "tide", "captain", "rope", "deck", "lighthouse", "pier", "wave"),
        "V": ("sails", "loads", "tows", "anchors", "steers", "salvages"),
        "A": ("salty", "stormy", "wooden", "tidal", "drifting"),
    },
    "Kitchen": {
        "N": ("cook", "soup", "oven", "bread", "knife", "pepper", "kettle", "butter", "recipe", "plate"),
        "V": ("boils", "bakes", "stirs", "tastes", "slices", "roasts"),
        "A": ("fresh", "hot", "sweet", "spicy", "baked"),
    },
    "Orchestra": {
        "N": ("violin", "conductor", "melody", "drum", "singer", "chord", "flute", "rehearsal", "score", "cello"),
        "V": ("plays", "tunes", "conducts", "sings", "composes", "repeats"),
        "A": ("loud", "gentle", "rhythmic", "solemn", "tuned"),
    },
    "Garden": {
        "N": ("rose", "gardener", "hedge", "seed", "lawn", "spade", "apple", "blossom", "bee", "soil"),
        "V": ("plants", "waters", "prunes", "digs", "harvests", "mows"),
        "A": ("green", "ripe", "thorny", "shady", "blooming"),
    },
    "Court": {
        "N": ("judge", "lawyer", "witness", "verdict", "clerk", "contract", "appeal", "jury", "fine", "statute"),
        "V": ("hears", "accuses", "defends", "signs", "fines", "questions"),
        "A": ("legal", "guilty", "solid", "formal", "sworn"),
    },
    "Observatory": {
        "N": ("star", "planet", "telescope", "comet", "moon", "orbit", "galaxy", "astronomer", "eclipse", "lens"),
        "V": ("observes", "orbits", "measures", "eclipses", "charts", "reflects"),
        "A": ("bright", "distant", "lunar", "starry", "dark"),
    },
    "Railway": {
        "N": ("train", "station", "engine", "driver", "ticket", "bridge", "signal", "carriage", "platform", "tunnel"),
        "V": ("stops", "pulls", "carries", "passes", "couples", "delays"),
        "A": ("fast", "late", "narrow", "crowded", "steam"),
    },
    "Hospital": {
        "N": ("doctor", "nurse", "patient", "fever", "ward", "medicine", "bandage", "surgeon", "wound", "pulse"),
        "V": ("treats", "heals", "examines", "nurses", "bandages", "cures"),
        "A": ("sick", "careful", "sterile", "feverish", "surgical"),
    },
}  # fmt: skip
CHANCES = {"A": Fraction(1, 3), "and": Fraction(1, 4), "P": Fraction(1, 2)}
OF_TOPIC = {"N": Fraction(4, 5), "V": Fraction(3, 5), "A": Fraction(3, 5)}
ARTICLES, PARAGRAPHS, SENTENCES = 112, 4, 8
KEY = "made-up text"
SHA256 = "ca342c8c0c54146d0c371810461fcd216884a17a585cd1642ae35685fc48a5e7"


def made_up_text(key: str = KEY, articles: int = ARTICLES) -> str:
    """The text of a key, in WikiText's layout; every topic has a share of the articles that differs by at most one.

    Only `random()` is drawn from: its numbers are the same in every version of Python.
    """
    draw = random.Random(key)
    topics = list(TOPICS)
    return "".join(article(draw, topics[k % len(topics)]) for k in shuffled(draw, articles))


def shuffled(draw: random.Random, count: int) -> list[int]:
    """0 .. count - 1 in a random order."""
    return [k for _, k in sorted((draw.random(), k) for k in range(count))]


def article(draw: random.Random, topic: str) -> str:
    """A heading and paragraphs of one topic."""
    lines = [f" = {topic} = "]
    for _ in range(PARAGRAPHS):
        words = [word for _ in range(SENTENCES) for word in sentence(draw, topic)]
        lines.append(f" {' '.join(words)} ")
    return "\n".join(lines) + "\n"


def sentence(draw: random.Random, topic: str) -> list[str]:
    """The words of one sentence."""
    words = [*noun_phrase(draw, topic), content_word(draw, topic, "V"), *noun_phrase(draw, topic)]
    if happens(draw, CHANCES["and"]):
        words += ["and", content_word(draw, topic, "V"), *noun_phrase(draw, topic)]
    if happens(draw, CHANCES["P"]):
        words += [chosen(draw, PREPOSITIONS), *noun_phrase(draw, topic)]
    return [*words, "."]


def noun_phrase(draw: random.Random, topic: str) -> list[str]:
    words = [chosen(draw, DETERMINERS)]
    if happens(draw, CHANCES["A"]):
        words.append(content_word(draw, topic, "A"))
    return [*words, content_word(draw, topic, "N")]


def content_word(draw: random.Random, topic: str, kind: str) -> str:
    return chosen(draw, TOPICS[topic][kind] if happens(draw, OF_TOPIC[kind]) else GENERAL[kind])


def happens(draw: random.Random, chance: Fraction) -> bool:
    return draw.random() < float(chance)


def chosen(draw: random.Random, words: Sequence[str]) -> str:
    """One of a list, the k-th with a probability that is proportional to 1/k."""
    bounds = shares_up_to(len(words))
    return words[min(bisect_right(bounds, draw.random()), len(words) - 1)]  # the last bound may be rounded below 1


@cache
def shares_up_to(count: int) -> list[float]:
    """The probability of the first k words of a list, k = 1 .. count."""
    whole = sum(weights(count))
    return [float(part / whole) for part in accumulate(weights(count))]


def weights(count: int) -> list[Fraction]:
    """1, 1/2, 1/3, .."""
    return [Fraction(1, k) for k in range(1, count + 1)]


# The true statistics


def expected_slots() -> dict[str, Fraction]:
    """How many words of each kind a sentence has in the mean."""
    phrases = 2 + CHANCES["and"] + CHANCES["P"]
    return {
        "D": phrases, "A": phrases * CHANCES["A"], "N": phrases, "V": 1 + CHANCES["and"], "and": CHANCES["and"],
        "P": CHANCES["P"], ".": Fraction(1),
    }  # fmt: skip


def word_shares(topic: str) -> dict[str, Fraction]:
    """E (how often a sentence on a topic has a word)/E (words of a sentence): adds up to 1."""
    slots, counts = expected_slots(), Counter[str]()
    lists: list[tuple[Fraction, Sequence[str]]] = [
        (slots["D"], DETERMINERS), (slots["P"], PREPOSITIONS), (slots["and"], ("and",)), (slots["."], (".",)),
    ]  # fmt: skip
    for kind, share in OF_TOPIC.items():
        lists += [(slots[kind] * share, TOPICS[topic][kind]), (slots[kind] * (1 - share), GENERAL[kind])]
    for expected, words in lists:
        whole = sum(weights(len(words)))
        for word, weight in zip(words, weights(len(words)), strict=True):
            counts[word] += expected * weight / whole  # type: ignore[assignment]
    length = sum(slots.values())
    return {word: Fraction(count) / length for word, count in counts.items()}


def topic_words() -> dict[str, str]:
    """Word of a topic -> its topic."""
    return {word: topic for topic, kinds in TOPICS.items() for words in kinds.values() for word in words}
