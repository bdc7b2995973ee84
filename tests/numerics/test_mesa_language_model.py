"""The made-up language: its exact losses against enumeration, and models that may not look ahead."""

import itertools
import math

import pytest
import torch

from iclcheck.numerics.mesa.language_model import ALPHABET, Language, LanguageModel, losses, trained_model


def probability(language: Language, text: str) -> float:
    """P(text begins a document), by summing over grammars and over sequences of words one by one."""
    K, e, total = len(language.words), language.freedom, 0.0
    for grammar in itertools.permutations(range(K)):
        for words in itertools.product(range(K), repeat=len(text) // 3 + 1):
            if "".join(language.words[w] + " " for w in words).startswith(text):
                steps = itertools.pairwise(words)
                likely = math.prod((1 - e) * (grammar[a] == b) + e / K for a, b in steps)
                total += likely / K / math.factorial(K)
    return total


def test_exact_losses_are_those_of_all_grammars_and_words_enumerated() -> None:
    language = Language(("ba", "ce", "dif"), 0.3)
    documents = language.documents(3, 9, "a test")
    for text, found in zip(documents.tolist(), language.exact_losses(documents), strict=True):
        written = "".join(ALPHABET[c] for c in text)
        for t in range(9):
            expected = -math.log(probability(language, written[: t + 1]) / probability(language, written[:t]))
            assert float(found[t]) == pytest.approx(expected, abs=1e-12)  # sums of a few hundred terms below 1


def test_without_a_grammar_every_word_costs_log_k_and_the_rate_says_so() -> None:
    language = Language(freedom=1.0)
    documents = language.documents(5, 40, "free words")
    for text, found in zip(documents.tolist(), language.exact_losses(documents), strict=True):
        complete = max(t for t, c in enumerate(text) if ALPHABET[c] == " ")
        words = sum(ALPHABET[c] == " " for c in text)
        assert float(found[: complete + 1].sum()) == pytest.approx(words * math.log(5), rel=1e-12)
    assert language.entropy_rate == pytest.approx(math.log(5) / 3.4, rel=1e-12)  # 17 characters in 5 words


def test_a_grammar_without_freedom_costs_nothing_once_it_is_seen() -> None:
    language = Language(freedom=0.0)
    found = language.exact_losses(language.documents(4, 80, "rigid"))
    assert float(found[:, 30:].abs().max()) < 1e-12
    assert language.entropy_rate == 0


def test_documents_depend_on_their_key_alone() -> None:
    language = Language()
    assert torch.equal(language.documents(3, 20, "one"), language.documents(3, 20, "one"))
    assert not torch.equal(language.documents(3, 20, "one"), language.documents(3, 20, "another"))


@pytest.mark.parametrize("kind", ["softmax", "linear", "mesa"])
def test_a_character_is_predicted_from_those_before_it(kind: str) -> None:
    model = LanguageModel((kind, kind), torch.Generator().manual_seed(0))
    documents = Language().documents(2, 30, "causal")
    changed = documents.clone()
    changed[:, 17:] = (changed[:, 17:] + 1) % len(ALPHABET)
    before, after = model(documents).detach(), model(changed).detach()
    assert torch.allclose(before[:, :18], after[:, :18], atol=1e-5)  # the logits at 17 do not see the character 17
    assert not torch.allclose(before[:, 18:], after[:, 18:], atol=1e-3)


@pytest.mark.slow  # 20 s of CPU time
def test_a_mesa_model_learns_the_grammar_of_a_document_it_has_not_seen() -> None:
    language = Language()
    documents = language.documents(40, 128, "unseen")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model = trained_model(language, ("mesa", "mesa"), 7, steps=300, batch=16, length=128, rate=0.003)
    torch.set_num_threads(before)
    gap = float((losses(model, documents).detach().double() - language.exact_losses(documents)).mean())
    spelling_alone = math.log(5) / 3.4 - language.entropy_rate  # what ignoring the grammar costs in the long run, 0.28
    assert 0 < gap < spelling_alone / 2
