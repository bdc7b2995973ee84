"""Claims of a user's file: read, measured, altered, refused in one sentence with the place in the file."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from iclcheck.proofs_check.certificates.certificate import read, sealed, to_bytes
from iclcheck.proofs_check.certificates.examining import MODULES
from iclcheck.proofs_check.claims import registry
from iclcheck.proofs_check.claims.parameters import UsageError
from iclcheck.proofs_check.command_line import main
from iclcheck.proofs_check.own.claim_files import claims_from, hash_of_code
from iclcheck.proofs_check.own.observables import bounded_draws
from iclcheck.proofs_check.own.template import template
from iclcheck.proofs_check.verdicts.empirical_bernstein import deviation

FILE = Path("mine.py")
VARIANCE = 'variance="(3*(d-1)**2 + 26*(d-1) + 60 + (N-1)*((d+1)**2 + 2*(d+3)))/N**3"'
# Draws for a gap of 30 %: a hundredth of the template's, so that a check takes a tenth of a second.
TEXT = template("my-claim", FILE).replace("detect=0.02", "detect=0.3").replace("4096", "256")
TEXT = TEXT.replace('    prediction={"risk', '    settings=3,\n    prediction={"risk')

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs the command in an empty folder on a file of claims: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def command(text: str, *arguments: str) -> tuple[int, str, str]:
        FILE.write_text(text)
        status = main([*arguments, "--claims", str(FILE)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return command


def changed(*pairs: tuple[str, str]) -> str:
    """The template with some of its text replaced."""
    text = TEXT
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


CHECK = ("check", "--workers", "1", "--device", "cpu")


def test_built_in_names_are_known_without_loading_the_claims() -> None:
    assert set(registry.built_in_claims()) == set(MODULES)


def test_every_verb_works_on_the_template(run: Check) -> None:
    name = "my-claim"
    assert run(TEXT, "list")[:2] == (0, "my-claim  derived  The risk of averaging\n")
    assert "d: a whole number from 1 to 4" in run(TEXT, "show", name)[1]
    assert "2 of 2 equalities hold exactly" in run(TEXT, "derive", name)[1]
    assert run(TEXT, "predict", name, "--set", "N=4", "--set", "d=3")[:2] == (0, "risk: 1\n")
    status, out, _ = run(TEXT, "certify", name)
    assert status == 0
    assert "own/my-claim: certified by python-flint" in out
    status, out, _ = run(TEXT, *CHECK)
    assert status == 0
    assert "squared error, sampled" in out
    assert "steps of the derivation" in out
    status, out, _ = run(TEXT, "controls", "--json", "--workers", "1", "--device", "cpu")
    score = json.loads(out)["claims"][name]
    # What differs by less than the gap of 30 % is shown to have survived, and nothing else has.
    assert status == 1
    assert 0 < len(score["survived"]) < score["counted"]
    assert max(one["difference"] for one in score["survived"]) < 0.35
    assert score["refused"] >= 8
    status, out, _ = run(TEXT, "status", "--json")
    (found,) = json.loads(out)["claims"]
    assert (status, found["derivation"], found["evidence"]) == (0, "certified", "agrees")
    status, out, _ = run(TEXT, "cite")
    assert status == 0
    assert "derived in steps of which 2 hold exactly" in out
    assert run(TEXT, "appendix", "--output", "appendix")[0] == 0
    assert "The risk of averaging" in Path("appendix/appendix.md").read_text()
    status, out, _ = run(TEXT, "verify", "appendix", "--sample", "1")
    assert status == 0
    assert "1 of 1 certificate confirmed by the engines; 3 records, 1 measurement made again" in out


@pytest.mark.slow
def test_a_plan_names_the_file_in_the_command_that_is_to_be_copied(run: Check) -> None:
    status, out, _ = run(TEXT, "plan", "my-claim", "--detect", "0.5", "--device", "cpu")
    assert status == 0
    assert "iclcheck check my-claim --claims mine.py --detect 0.5 --device cpu" in out


def test_a_wrong_formula_is_contradicted(run: Check) -> None:
    text = changed(('"(d + 1)/N"}', '"(d + 2)/N"}'), ('"(d + 1)/N", "E', '"(d + 2)/N", "E'), ("N - 2 + 1", "N - 2 + 2"))
    status, out, _ = run(text, *CHECK)
    assert status == 1
    assert re.search("squared error, sampled +contradicts", out)


def test_a_changed_formula_is_judged_by_the_records_that_are_there(run: Check) -> None:
    """The formula is no part of the code that measures; only the draws of a mean follow from its size."""
    assert run(KINDS, *CHECK)[0] == 0
    status, out, err = run(KINDS.replace('"double": "2*x"', '"double": "3*x"'), *CHECK)
    assert status == 1
    assert "halved, exact" in out
    assert "28 measurements, 28 recorded already" in err


def test_a_changed_measurement_is_made_anew(run: Check) -> None:
    assert run(TEXT, *CHECK)[0] == 0
    assert "3 measurements, 3 recorded already" in run(TEXT + "# a comment\n", *CHECK)[2]
    assert "3 measurements, 0 recorded already" in run(changed(("-= 1\n", "-= 1.0 + 0\n")), *CHECK)[2]


@pytest.mark.parametrize(
    "old, new, same",
    [
        ("# |S w - w|^2", "# another comment", True),
        ('"""What is measured', '"""What else is measured', True),
        ('statement="For', 'statement="Say: for', True),
        ('prediction={"risk": "(d + 1)/N"}', 'prediction={"risk": "d/N"}', True),
        ('"d": whole(1, 4)', '"d": whole(1, 5)', True),  # what is measured there has a key of its own
        ("-= 1\n", "-= 2\n", False),
        ("import numpy as np", "import numpy as np\n\nUNUSED = 1", False),
        ("squared_error,", "lambda p, g: squared_error(p, g),", False),
    ],
)
def test_the_hash_of_a_file_is_that_of_the_code_that_measures(tmp_path: Path, old: str, new: str, same: bool) -> None:
    (tmp_path / "one.py").write_text(TEXT)
    (tmp_path / "two.py").write_text(changed((old, new)))
    assert (hash_of_code(tmp_path / "one.py") == hash_of_code(tmp_path / "two.py")) == same


def test_a_module_beside_the_file_is_part_of_its_code(tmp_path: Path) -> None:
    file, helper = tmp_path / "mine.py", tmp_path / "helper_of_mine.py"
    file.write_text("from helper_of_mine import x\n" + TEXT)
    helper.write_text("x = 1\n")
    before = hash_of_code(file)
    helper.write_text("x = 1  # the same\n")
    assert hash_of_code(file) == before
    helper.write_text("x = 2\n")
    assert hash_of_code(file) != before


def test_a_step_that_does_not_hold_contradicts_the_claim(run: Check) -> None:
    text = changed(('"(N + d + 1)/N - 2 + 1"', '"(N + d + 1)/N - 2"'))
    status, out, _ = run(text, *CHECK)
    assert status == 1
    assert "'risk' fails" in out
    assert run(text, "derive", "my-claim")[0] == 1
    assert run(text, "certify", "my-claim")[0] == 1
    assert "stated" in run(text, "list")[1]


def test_a_formula_without_steps_is_called_stated_and_is_not_certified(run: Check) -> None:
    text = re.sub(r"    steps=\[.*?\n    \],\n", "", TEXT, flags=re.S)
    assert "my-claim  stated  " in run(text, "list")[1]
    status, _, err = run(text, "certify", "my-claim")
    assert status == 3
    assert "states its formula without a derivation" in err
    assert "No equality is checked" in run(text, "derive", "my-claim")[1]
    assert "stated by its author without a derivation" in run(text, "cite")[1]


BAD = {
    "a syntax error": (TEXT.replace("claim(\n", "claim((\n", 1), r"mine.py, line \d+: mine.py cannot be read"),
    "no claim": ("x = 1\n", "mine.py states no claim"),
    "an import that fails": ("import nothing_like_it\n" + TEXT, "mine.py, line 1: .*ModuleNotFoundError"),
    "an exception": (TEXT + "\nraise RuntimeError('boo')\n", r"mine.py, line \d+: .*RuntimeError: boo"),
    "an exit": (TEXT + "\nexit(0)\n", r"mine.py, line \d+: .*SystemExit"),
    "a missing part": (changed(('    title="The risk of averaging",\n', "")), "missing 1 required .*'title'"),
    "a built-in name": (changed(('"my-claim"', '"fixed-point"')), "fixed-point is the name of a built-in claim"),
    "a name of an audit": (changed(('"my-claim"', '"audit-mine"')), "begins like an audit"),
    "a bad name": (changed(('"my-claim"', '"../My claim"')), "needs lower-case words"),
    "a claim stated twice": (TEXT + TEXT[TEXT.index("claim(\n") :], "is stated twice"),
    "an unknown letter": (changed(('"(d + 1)/N"}', '"(d + 1)/M"}')), "holds M, which is no parameter; .*known: N, d"),
    "an unreadable formula": (changed(('"(d + 1)/N"}', '"(d + 1"}')), "the prediction risk cannot be read"),
    "a division by 0": (changed(('"(d + 1)/N"}', '"1/(N - N)"}')), "needs a formula"),
    "another end": (changed(('"(d + 1)/N"}', '"(d + 2)/N"}')), "no step ends in the prediction risk"),
    "neither variance nor bounds": (changed((VARIANCE + ",", "")), "needs variance= or bounds="),
    "a negative variance": (changed((VARIANCE, 'variance="-N"')), "needs a positive variance"),
    "an empty domain": (changed(('domain={"N": whole(1, 10), "d": whole(1, 4)}', "domain={}")), "domain needs at"),
    "a range upside down": (changed(("whole(1, 10)", "whole(10, 1)")), "whole needs two whole numbers in order"),
    "a plain pair": (changed(("whole(1, 10)", "(1, 10)")), "the parameter N needs whole"),
    "no check": (changed(("checks=[", "checks=[] and [")), "checks needs a list"),
    "an error while measuring": (changed(("-= 1\n", "-= 1 / 0\n")), r"mine.py, line 20: squared err.*ZeroDivision"),
    "nan": (changed(("-= 1\n", "= np.nan\n")), "gives nan for risk at N = "),
    "words": (changed(("(error**2).sum(axis=1)", '"hello"')), r"mine.py, line 24: .*could not convert"),
    "complex numbers": (changed(("(error**2).sum(axis=1)", "(error**2).sum(axis=1) + 1j")), "need real numbers, got"),
    "another quantity": (changed(("(error**2).sum(axis=1)", '{"loss": error}')), "measures 'loss', which has no pred"),
    "no draws": (changed(("(error**2).sum(axis=1)", "[]")), "gives no draws"),
    "draws beyond their bounds": (changed((VARIANCE, "bounds=(0, 1)")), "states bounds from 0 to 1 .* and a draw is"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_refused_in_one_sentence_with_its_place(run: Check, case: str) -> None:
    text, said = BAD[case]
    status, out, err = run(text, *CHECK)
    assert (status, out) == (2, "")
    sentence = err.splitlines()[-1]
    assert re.search(said, sentence), sentence
    assert "mine.py" in sentence
    assert "Traceback" not in err


def test_there_is_no_such_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--claims", str(tmp_path / "none.py")]) == 2
    assert "there is no file of claims" in capsys.readouterr().err


def test_draws_that_belie_their_stated_variance_decide_nothing(run: Check) -> None:
    """Neither way: with a hundredth of the true variance the rates would not hold."""
    text = changed((VARIANCE, VARIANCE.replace('"(3', '"(0.03').replace("26*", "0.26*").replace("60", "0.6")
                    .replace("(N-1)*", "0.01*(N-1)*")), ("detect=0.3", "detect=0.05"))  # fmt: skip
    status, out, _ = run(text, *CHECK)
    assert status == 3
    assert "too much for the error rates to hold" in " ".join(out.split())
    # The other way round: a wrong formula is not contradicted by such draws either.
    wrong = text.replace('prediction={"risk": "(d + 1)/N"}', 'prediction={"risk": "9*(d + 1)/N"}')
    assert run(wrong.replace('"(d + 1)/N", "E', '"9*(d + 1)/N", "E'), *CHECK)[0] == 1  # its step fails
    assert run(re.sub(r"    steps=\[.*?\n    \],\n", "", wrong, flags=re.S), *CHECK)[0] == 3


KINDS = """
import numpy as np
from iclcheck.own import claim, exact, mean, one_of, real, replicas, whole

def halved(p, generator):
    return {"half": p["x"] / 2, "double": 2 * p["x"]}

def signs(p, generator):
    return {"half": p["x"] / 2 + 0.1 * generator.choice([-1.0, 1.0], size=500)}

def trained(p, generator, device):
    assert device == "cpu"
    return p["x"] / 2 * (1 + 0.02 * generator.uniform(-1, 1))

def half(x, kind):
    if x > 9:
        raise ValueError("too large for this formula")
    return x / 2

claim(
    "three-kinds",
    title="x/2", statement="Half of x.", domain={"x": real(1, 3), "kind": one_of("a", "b")},
    prediction={"half": half, "double": "2*x"}, settings=3,
    checks=[
        exact(halved, rounding=1e-15),
        mean(signs, bounds=("x/2 - 0.1", "x/2 + 0.1"), detect=0.02),
        replicas(lambda p, g, device: {"half": trained(p, g, device)},
                 margin=0.03, share=0.5, runs=24, name="trained halves"),
    ],
)
"""


def test_exact_numbers_bounded_means_and_runs_are_judged_by_their_rules(run: Check) -> None:
    status, out, _ = run(KINDS, *CHECK, "--json", "--record", "kept")
    assert status == 0
    (found,) = json.loads(out)["claims"]
    exact, mean, runs = found["checks"]
    assert (exact["outcome"], exact["false_alarm"]) == ("agrees", 0.0)
    assert exact["ran"] == "6 numbers at 3 settings"
    assert (mean["outcome"], mean["false_alarm"], mean["miss"]) == ("agrees", 1e-6, 1e-3)
    assert mean["detectable"] <= 0.022
    assert (runs["outcome"], runs["details"]["hits"], runs["details"]["replicas"]) == ("agrees", 24, 24)
    # A function is altered in its arguments and by a factor, a formula from its expression; words are left alone.
    assert found["controls"]["counted"] >= 8
    assert found["controls"]["survived"] == []
    # Records are of this claim, and hold neither a path nor a verdict.
    records = Path("kept/records.json").read_text()
    assert "three-kinds" in records
    assert not any(word in records for word in (str(Path.cwd()), "mine.py", "agrees"))


OFF = {
    "halved, exact": (('"half": p["x"] / 2,', '"half": p["x"] / 2.2,'),),
    "signs, sampled": (("/ 2 + 0.1 *", "/ 2.2 + 0.1 *"), ("x/2 - 0.1", "x/2.2 - 0.1"), ("x/2 + 0.1", "x/2.2 + 0.1")),
    "trained halves": (('p["x"] / 2 * (1', 'p["x"] / 2.2 * (1'),),
}


@pytest.mark.parametrize("check", OFF)
def test_each_kind_refuses_what_is_off(run: Check, check: str) -> None:
    """Measurements that are off by 10 % are contradicted, each by its own check."""
    text = KINDS
    for old, new in OFF[check]:
        assert old in text
        text = text.replace(old, new)
    status, out, _ = run(text, *CHECK, "--json")
    found = json.loads(out)["claims"][0]["checks"]
    assert status == 1
    assert [one["check"] for one in found if one["outcome"] == "contradicts"] == [check]


def test_predict_refuses_what_the_claim_says_nothing_about(run: Check) -> None:
    status, _, err = run(KINDS, "predict", "three-kinds", "--set", "x=20", "--set", "kind=a")
    assert status == 2
    assert "three-kinds is stated for x a number from 1 to 3, got '20'" in err
    assert run(KINDS, "predict", "three-kinds", "--set", "x=2", "--set", "kind=c")[0] == 2
    assert run(KINDS, "predict", "three-kinds", "--set", "x=2", "--set", "kind=b")[1] == "half: 1\ndouble: 4\n"


def test_a_prediction_that_fails_is_told_with_its_line(run: Check) -> None:
    status, _, err = run(KINDS.replace("real(1, 3)", "real(10, 30)"), *CHECK)
    assert status == 2
    assert "mine.py, line 17: the prediction half fails at x = " in err
    assert "too large for this formula" in err


@pytest.mark.slow
def test_measurements_in_worker_processes_are_the_same(run: Check) -> None:
    one = run(KINDS, *CHECK, "--record", "one", "--json")[1]
    two = run(KINDS, "check", "--workers", "2", "--device", "cpu", "--record", "two", "--json")[1]
    assert json.loads(one)["claims"] == json.loads(two)["claims"]


def test_claims_are_known_within_their_context_only(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(TEXT)
    with claims_from(file) as names:
        assert names == ("my-claim",)
        assert list(registry.all_claims()) == ["my-claim"]
        assert registry.find("fixed-point").identifier == "fixed-point"
    assert "my-claim" not in registry.all_claims()
    with pytest.raises(UsageError, match="no claim 'my-claim'"):
        registry.find("my-claim")


def test_several_files_are_taken_and_may_not_state_the_same_claim(run: Check) -> None:
    Path("other.py").write_text(KINDS)
    status, out, _ = run(TEXT, "list", "--claims", "other.py")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["three-kinds", "my-claim"]
    Path("other.py").write_text(TEXT)
    status, _, err = run(TEXT, "list", "--claims", "other.py")
    assert status == 2
    assert "mine.py, line 24: the claim my-claim is stated in two files" in err


def test_a_built_in_claim_can_be_named_beside_those_of_a_file(run: Check) -> None:
    assert run(TEXT, "show", "fixed-point")[0] == 0
    assert "my-claim" in run(TEXT, "show", "my-clam")[2]


@pytest.mark.parametrize("content", [b"\x00\x01", b"x = '\xff\xfe'\n", b"x = (" * 500, b'"""'])
def test_what_is_no_python_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (tmp_path / "no.py").write_bytes(content)
    assert main(["list", "--claims", str(tmp_path / "no.py")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no.py cannot be read as Python" in said
    assert main(["list", "--claims", str(tmp_path)]) == 2


def test_a_model_and_a_file_of_claims_do_not_go_together(run: Check) -> None:
    status, _, err = run(TEXT, "check", "fixed-point", "--model", "weights.npz")
    assert status == 2
    assert "--claims belongs to a measurement" in err


def test_a_new_claim_is_written_once_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-claim", "my-first"]) == 0
    before = Path("my_first.py").read_text()
    assert main(["new-claim", "my-first"]) == 2
    assert Path("my_first.py").read_text() == before
    assert main(["list", "--claims", "my_first.py"]) == 0
    assert main(["new-claim", "fixed-point"]) == 2
    assert main(["new-claim", "Mine", "--output", "x.py"]) == 2
    assert main(["new-claim", "mine", "--output", "x.txt"]) == 2
    assert main(["new-claim", "mine", "--output", "nowhere/x.py"]) == 2
    assert sorted(path.name for path in Path().iterdir()) == ["my_first.py"]


def test_the_draws_between_bounds_catch_the_gap_at_the_largest_variance() -> None:
    for gap, width in ((0.05, 1.0), (0.3, 2.0)):
        count = bounded_draws(gap, width, 1e-7)
        found = deviation(count, width**2 / 4, width, 1e-7) + deviation(count, width**2 / 4, width, 1e-3)
        assert found <= gap < 1.2 * found


def test_what_certifies_an_own_claim_is_examined_from_the_file_alone(run: Check, certificates: Path) -> None:
    assert run(TEXT, "certify", "my-claim")[0] == 0
    certificate = certificates / "my-claim.json"
    assert main(["certify", "--recheck", str(certificate)]) == 0
    content = read(certificate)
    (form, *_) = content["steps"][0]["forms"].values()
    form["numerator"]["terms"][0][0] = "5"
    certificate.write_bytes(to_bytes(content))
    assert main(["certify", "--recheck", str(certificate)]) == 1  # its hash does not fit
    certificate.write_bytes(to_bytes(sealed(content)))
    assert main(["certify", "--recheck", str(certificate)]) == 1  # nor do its two sides


@pytest.mark.parametrize(
    "left, right, status",
    [
        ("(I + N)*S - I*S", "S*N", 0),  # letters that are something else elsewhere
        ("(x - x)*N", "0", 0),
        ("1/2 + 1/3", "5/6", 0),
        ("(N**2 - 1)/(N - 1)", "N + 1", 0),
        ("(N**2 - 1)/(N - 1)", "N - 1", 1),
        ("(N**2 - 1)/(N - 1)", "N + 1 + 1/10**60", 1),  # rational functions are compared exactly
        ("exp(N)*exp(-N)", "1", 0),
        ("sqrt(N**2 + 2*N + 1)", "N + 1", 3),  # holds to fifty digits, and is nothing that the engines read
        ("exp(2*log(N + 1))", "(N + 1)**2", 0),
        ("sin(N)**2 + cos(N)**2", "1", 3),
        ("sin(N)**2 + cos(N)**2", "1 + 1/10**9", 1),
    ],
)
def test_equalities_are_checked_and_certified(run: Check, left: str, right: str, status: int) -> None:
    text = changed(("    steps=[\n", f"    steps=[\n        step('further', '{left}', '{right}', 'algebra'),\n"))
    assert run(text, "derive", "my-claim")[0] == (1 if status == 1 else 0)
    found = run(text, "certify", "my-claim")[0]
    assert found == status or (status, found) == (1, 3)  # what is read by no engine is not refuted by one


def test_names_with_the_signs_of_markup_are_printed_as_they_are(run: Check) -> None:
    text = changed(("detect=0.3", 'detect=0.3, name="[/red] :smile: [bold]x"'))
    status, out, _ = run(text, *CHECK)
    assert status == 0
    assert "[/red] :smile: [bold]x" in out
