"""What verify catches: alterations of a records.json, with and without hashes made anew; what it says of old code."""

import copy
import functools
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from iclcheck.proofs_check.appendix import judging, verification
from iclcheck.proofs_check.appendix.comparing import differences, largest_difference
from iclcheck.proofs_check.appendix.document import gather
from iclcheck.proofs_check.appendix.recorded import NoRecordsJsonError, parsed, read, to_records_json, written
from iclcheck.proofs_check.appendix.verification import Verification, verify
from iclcheck.proofs_check.certificates import making
from iclcheck.proofs_check.certificates.certificate import sealed, to_bytes
from iclcheck.proofs_check.certificates.examining import recheck_content
from iclcheck.proofs_check.checking import check_claims
from iclcheck.proofs_check.claims import registry
from iclcheck.proofs_check.claims.claim import Budget, Claim
from iclcheck.proofs_check.claims.registry import find
from iclcheck.proofs_check.command_line import main
from iclcheck.proofs_check.records.plain_data import content_hash
from iclcheck.proofs_check.records.store import ReadRecords, RecordStore, read_records_json
from iclcheck.proofs_check.status import evidence

CLAIMS = ("mesa-partial-observation", "audit-mn-objective")
HERE = Path("records.json")
Plain = dict[str, Any]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A records.json of two claims, one of them certified."""
    folder = tmp_path_factory.mktemp("verify")
    with pytest.MonkeyPatch.context() as patch, RecordStore(folder / "records.sqlite") as store:
        patch.setattr(making, "DEFAULT_FOLDER", folder / "certificates")
        patch.setattr(judging, "DEFAULT_FOLDER", folder / "judged")
        claims = [find(name) for name in CLAIMS]
        check_claims(claims, Budget(), store, workers=1)
        (folder / "certificates").mkdir()
        content = making.certify(claims[0].derivation())
        (folder / "certificates" / f"{CLAIMS[0]}.json").write_bytes(to_bytes(content))
        return to_records_json(gather(claims, Budget(), store))


CONFIRMED = functools.cache(recheck_content)


@pytest.fixture(autouse=True)
def no_certificate_is_examined_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """One with other bytes is examined, and one that is refused is examined each time."""
    monkeypatch.setattr(verification, "recheck_content", CONFIRMED)


def verified(text: str, rerun: verification.Rerun = "none") -> Verification:
    return verify(parsed(text, HERE), rerun=rerun)


def test_what_nobody_altered_is_verified(text: str) -> None:
    found = verified(text, "all")
    assert not found.findings
    assert found.certificates == 1
    assert len(found.measured) == len(json.loads(text)["records"]) == 4
    assert [(entry.identifier, entry.outcome) for entry in found.entries] == [
        (CLAIMS[0], "agrees"),
        (CLAIMS[1], "contradicts"),
    ]
    assert found.exit_status == 3  # the audit's corrected claim is not in the file


def test_the_records_of_an_appendix_are_read_by_the_other_verbs(text: str, tmp_path: Path) -> None:
    (tmp_path / "records.json").write_text(text)
    records = ReadRecords(read_records_json(tmp_path / "records.json"))
    assert evidence(find(CLAIMS[0]), Budget(), records).status == "agrees"


# Random alterations


def leaves(plain: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all parts of a document, containers too."""
    if path:
        yield path
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for name, part in items:
        yield from leaves(part, (*path, name))


def at(plain: Any, path: tuple[Any, ...]) -> Any:
    for name in path:
        plain = plain[name]
    return plain


def other_leaf(value: Any, draw: random.Random) -> Any:
    """A number off by 1 % or more, a word with a letter more or less, and so on."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + draw.choice((-3, -1, 1, 2, 10))
    if isinstance(value, float):
        return value * draw.choice((0.5, 0.99, 1.01, -1.0, 3.0)) if value else 0.1
    if isinstance(value, str):
        return draw.choice((value + "x", value[1:] if value else "y", value.swapcase() + " ", "agrees"))
    return 1.5 if value is None else "nothing"


def altered(original: Plain, draw: random.Random, paths: list[tuple[Any, ...]]) -> tuple[Plain, tuple[Any, ...]]:
    """The document with one part altered, deleted, or swapped with its neighbour; and where."""
    while True:
        found, path = copy.deepcopy(original), draw.choice(paths)
        above, name = at(found, path[:-1]), path[-1]
        way = draw.choice(("alter", "alter", "alter", "delete", "swap"))
        if way == "delete":
            del above[name]
        elif way == "swap" and isinstance(above, list) and len(above) > 1:
            other = draw.randrange(len(above))
            above[name], above[other] = above[other], above[name]
        elif not isinstance(above[name], dict | list):
            above[name] = other_leaf(above[name], draw)
        if found != original:
            return found, path


def test_200_random_alterations_are_caught_at_the_hashes(text: str) -> None:
    original, draw = json.loads(text), random.Random(1)
    paths = [path for path in leaves(original) if path != ("format",)]
    for _ in range(200):
        plain, path = altered(original, draw, paths)
        head = plain.get("heading")
        # In the layout of iclcheck where there is one, so that not only the layout gives it away.
        laid_out = relaid(text, original, plain) if isinstance(head, dict) else json.dumps(plain)
        assert parsed(laid_out, HERE).altered, path


def compact(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def relaid(text: str, original: Plain, plain: Plain) -> str:
    """A document written line by line as `written` does, with the hashes that stand in it."""
    lines = ['{"format": ' + json.dumps(plain.get("format")) + ","]
    lines += [f'"heading": {compact(plain.get("heading"))},']
    for name in ("claims", "certificates", "records"):
        rows = plain.get(name)
        if not isinstance(rows, list):
            return json.dumps(plain)
        joined = ",\n".join(
            "{" + f'"sha256":{json.dumps(row["sha256"])},"{name[:-1]}":{compact(row[name[:-1]])}' + "}"
            if isinstance(row, dict) and {"sha256", name[:-1]} == set(row)
            else json.dumps(row)
            for row in rows
        )
        lines += [f'"{name}": [', *([joined] if joined else []), "],"]
    return "\n".join([*lines, f'"sha256": {json.dumps(plain.get("sha256"))}}}', ""])


def test_the_layout_of_the_tests_is_that_of_the_file(text: str) -> None:
    plain = json.loads(text)
    assert relaid(text, plain, plain) == text


def test_single_bytes_are_caught(text: str) -> None:
    draw = random.Random(2)
    for _ in range(100):
        place = draw.randrange(len(text))
        changed = text[:place] + draw.choice("0a, ]}") + text[place + 1 :]
        if changed != text:
            try:
                assert parsed(changed, HERE).altered, place
            except NoRecordsJsonError:
                continue


# A forger who makes every hash anew

SAID = re.compile(  # what nothing can be compared with: it is the author's word
    r"records/\d+/record/(environment/(?!device)\w+|seconds|created|measuring_path)"
    r"|heading/(iclcheck|code)"
    r"|certificates/\d+/certificate/text/(code|made_with/.*)"
)


def opened(text: str) -> Plain:
    """The document without hashes of its parts, its certificates read."""
    plain: Plain = json.loads(text)
    for one in plain["certificates"]:
        one["certificate"]["text"] = json.loads(one["certificate"]["text"])
    return plain


def forged(plain: Plain, device: str = "cpu") -> str:
    """The document with every hash and key made anew, as far as it is laid out at all."""
    names, keys = ("claims", "certificates", "records"), {}
    plain = copy.deepcopy(plain)
    for one in plain["certificates"]:
        found = one["certificate"]
        content = {name: value for name, value in found["text"].items() if name != "sha256"}
        found["text"] = to_bytes(sealed(content)).decode()
        for claim in plain["claims"]:
            if claim["claim"].get("certificate"):
                claim["claim"]["certificate"] = sealed(content)["sha256"]
    for one in plain["records"]:
        record, before = one["record"], one["record"].get("key")
        record["key"] = content_hash([record.get("measurement"), record.get("parameters"), device])
        keys[before] = record["key"], content_hash(record)
    for one in plain["claims"]:
        listed = one["claim"].get("records", {})
        one["claim"]["records"] = dict(keys[key] for key in listed if key in keys) if isinstance(listed, dict) else 1
    return written(plain["heading"], {name: [one[name[:-1]] for one in plain[name]] for name in names})


def test_the_forger_of_these_tests_leaves_an_unaltered_file_as_it_is(text: str) -> None:
    assert forged(opened(text)) == text


def test_measured_values_that_a_verdict_bears_are_caught_by_measuring_again(text: str) -> None:
    plain = opened(text)
    values = plain["records"][0]["record"]["values"]
    place = next(path for path in leaves(values) if isinstance(at(values, path), float) and abs(at(values, path)) > 0.1)
    at(values, place[:-1])[place[-1]] *= 1.05
    found = verified(forged(plain), "all").findings
    assert any(one.kind == "refuted" and "measured again" in one.sentence for one in found)


def test_a_record_of_a_gpu_is_not_verified_where_there_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The word GPU beside records spares nobody the measurement."""
    monkeypatch.setattr(verification, "gpu_is_here", lambda: False)
    plain = opened(text)
    plain["heading"]["budget"]["device"] = "cuda"
    for one in plain["records"]:
        one["record"]["environment"]["device"] = "a GPU"
    found = verified(forged(plain, "cuda"), "all")
    assert found.measured == []
    assert any(one.kind == "undecided" and "measured on a GPU" in one.sentence for one in found.findings)
    assert found.exit_status in (1, 3)


@pytest.mark.parametrize(
    ("place", "value", "kind"),
    [
        (("claims", 0, "claim", "outcome"), "contradicts", "altered"),
        (("claims", 0, "claim", "checks", 0, "allowed"), 0.5, "altered"),
        (("claims", 0, "claim", "checks", 0, "false_alarm"), 1e-9, "altered"),
        (("claims", 0, "claim", "checks", 0, "miss"), 1e-12, "altered"),
        (("claims", 0, "claim", "statement", "text"), "Something else.", "altered"),
        (("claims", 0, "claim", "derivation"), "derived", "altered"),
        (("claims", 1, "claim", "audit", "corrected"), "fixed-point", "altered"),
        (("certificates", 0, "certificate", "text", "trusted"), [], "altered"),
        (("heading", "budget", "seed"), 1, "altered"),
        (("records", 0, "record", "values"), {}, "altered"),
        (("heading", "budget", "replicas"), 10**12, "altered"),
        (("claims", 1, "claim", "claim"), "no-such-claim", "undecided"),
    ],
)
def test_a_forger_who_makes_every_hash_anew_is_caught(text: str, place: tuple[Any, ...], value: Any, kind: str) -> None:
    plain = opened(text)
    at(plain, place[:-1])[place[-1]] = value
    found = verified(forged(plain))
    assert kind in {one.kind for one in found.findings}
    assert found.exit_status in (1, 3)


@pytest.mark.slow
def test_200_forgeries_are_caught_but_for_what_is_the_authors_word(text: str) -> None:
    original, draw = opened(text), random.Random(3)
    hashes = ("sha256", "key", "format")
    paths = [path for path in leaves(original) if path[-1] not in hashes and len(path) > 1]
    missed, tried = [], 0
    while tried < 200:
        plain, path = altered(original, draw, paths)
        try:
            forgery = forged(plain)
        except (KeyError, TypeError, AttributeError):  # the forger cannot even hash it: no such file is made
            continue
        if forgery == text:  # a hash was altered, and made anew
            continue
        tried += 1
        found = verified(forgery, "all" if "values" in path else "none")
        if all(one.kind == "rounding" for one in found.findings):
            missed.append("/".join(map(str, path)))
    unexplained = [path for path in missed if not SAID.fullmatch(path)]
    assert not unexplained, unexplained


# Other code, other files


def test_records_of_other_code_are_stale_and_measured_again_where_that_is_wanted(text: str) -> None:
    plain = opened(text)
    for one in plain["records"]:
        one["record"]["measuring_path"] = "0" * 64
    old = forged(plain)
    assert {one.kind for one in verified(old).findings} == {"stale"}
    assert verified(old).exit_status == 3
    found = verified(old, "sample")
    assert not found.findings
    assert len(found.measured) == 4


def test_a_verdict_of_other_code_that_is_another_now_has_drifted(text: str) -> None:
    plain = opened(text)
    plain["heading"]["code"] = "0" * 64
    plain["claims"][0]["claim"]["checks"][0]["allowed"] *= 2
    found = verified(forged(plain))
    assert {one.kind for one in found.findings} == {"drifted"}
    assert found.exit_status == 3


def test_a_measurement_that_no_claim_asks_for_is_never_run(text: str, tmp_path: Path) -> None:
    plain = opened(text)
    trap = tmp_path / "trap"
    record = plain["records"][0]["record"]
    record["measurement"], record["parameters"] = "os:system", {"command": f"touch {trap}"}
    found = verified(forged(plain), "all")
    assert found.exit_status == 1
    assert not trap.exists()


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("", "not strict JSON"),
        ("[1, 2", "not strict JSON"),
        ("[]", "no format"),
        ('{"format": "iclcheck records 1", "records": []}', "no format"),
        ('{"format": "iclcheck appendix 1", "x": NaN}', "not strict JSON"),
        ("[" * 100_000, "not strict JSON"),
    ],
)
def test_files_of_another_kind_are_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], written: str, words: str
) -> None:
    (tmp_path / "records.json").write_text(written)
    assert main(["verify", str(tmp_path / "records.json")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_verify_exits_as_a_shell_script_expects(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "records.json"
    file.write_text(text)
    digest = read(file).sha256
    assert main(["verify", str(tmp_path), "--rerun", "none", "--sha256", digest, "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert (found["findings"], found["sha256"], found["certificates"]) == ([], digest, 1)
    file.write_text(text.replace('"outcome":"agrees"', '"outcome":"contradicts"'))
    assert main(["verify", str(file), "--rerun", "none"]) == 1
    assert "does not fit its sha256" in capsys.readouterr().out
    for wrong in (["--rerun", "some"], ["--sample", "-1"], ["--sha256", "0" * 64]):
        assert main(["verify", str(file), *wrong]) == 2
    assert main(["verify", str(tmp_path / "nothing.json")]) == 2


def test_numbers_are_compared_beside_the_largest_of_their_neighbourhood() -> None:
    assert list(differences({"a": [1.0, 2.0]}, {"a": [1.0, 2.0]})) == []
    tiny = largest_difference({"measured": 1e-16, "predicted": 1.0}, {"measured": 3e-16, "predicted": 1.0})
    assert tiny is not None
    assert tiny.relative == pytest.approx(2e-16)
    verdict = {"measured": 1.0, "predicted": 1.0, "false_alarm": 1e-6}
    better = largest_difference(verdict, {**verdict, "false_alarm": 1e-9})
    assert better is not None
    assert better.relative == pytest.approx(0.999)
    for one, other in (({"a": 1}, {}), ({"a": "x"}, {"a": "y"}), ([1], [1, 2]), (True, 1), (None, 0.0)):
        found = largest_difference(one, other)
        assert found is not None
        assert found.relative == float("inf")


Judge = Callable[..., Any]


def test_claims_of_ones_own_are_not_kept_because_nobody_knows_where_their_code_lies(
    toy_claim: Callable[..., Claim], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = toy_claim("own-claim")
    monkeypatch.setitem(registry.OWN, "own-claim", own)
    assert not judging.JudgedClaims(Budget()).keeps(own)
    assert judging.JudgedClaims(Budget()).keeps(find("fixed-point"))


def test_what_is_kept_of_a_judged_claim_equals_judging_anew_and_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims, budget = [find(CLAIMS[0])], Budget()
    with RecordStore(tmp_path / "records.sqlite") as store:
        check_claims(claims, budget, store, workers=1)
        first = to_records_json(gather(claims, budget, store))

        def never(*_: Any) -> Any:
            raise AssertionError("judged anew")

        monkeypatch.setattr(judging, "judge_anew", never)
        assert to_records_json(gather(claims, budget, store)) == first
        with pytest.raises(AssertionError, match="judged anew"):
            gather(claims, Budget(seed=1), store)
        record = store.newest_records()[0]
        store.put(type(record)(**{**vars(record), "seconds": 1.0}))
        with pytest.raises(AssertionError, match="judged anew"):
            gather(claims, budget, store)
