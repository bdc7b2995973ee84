"""The works that claims, proofs and bounds rest on, and the toolkit itself, as BibTeX and as text.

This is the one place where their bibliographic data stand; `docs/references.md` shows the same text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .appendix.latex_text import escape

VENUE_FIELD = {"article": "journal", "inproceedings": "booktitle", "book": "publisher"}


@dataclass(frozen=True)
class Work:
    """One work of the literature.

    authors     given names first
    details     further BibTeX fields, in the order of printing: volume, number, pages, edition
    arxiv       number of the preprint
    """

    key: str
    kind: Literal["article", "inproceedings", "book"]
    authors: tuple[str, ...]
    title: str
    venue: str
    year: int
    details: Mapping[str, str] = field(default_factory=dict)
    arxiv: str | None = None

    def to_bibtex(self) -> str:
        """The BibTeX entry."""
        fields = {
            "author": " and ".join(map(latex_text, self.authors)),
            "title": f"{{{latex_text(self.title)}}}",  # braces keep the capitals
            VENUE_FIELD[self.kind]: latex_text(self.venue),
            "year": str(self.year),
            **{name: latex_text(value) for name, value in self.details.items()},
            **({"pages": self.details["pages"].replace("-", "--")} if "pages" in self.details else {}),
            **({"eprint": self.arxiv, "archiveprefix": "arXiv"} if self.arxiv else {}),
        }
        return bibtex_entry(self.kind, self.key, fields)

    def to_text(self) -> str:
        """The work as text on one line."""
        return f"{', '.join(self.authors)}, {self.title}, {self.venue}{self.place} ({self.year})" + (
            f", arXiv {self.arxiv}" if self.arxiv else ""
        )

    @property
    def place(self) -> str:
        """Edition, volume, number and pages, as far as they are known."""
        known = self.details
        edition = f", {known['edition']} edition" if "edition" in known else ""
        volume = f" {known['volume']}" if "volume" in known else ""
        number = f"({known['number']})" if "number" in known else ""
        pages = f", {known['pages']}" if "pages" in known else ""
        return f"{edition}{volume}{number}{pages}"


def bibtex_entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    """An entry of a .bib file; the values are LaTeX already."""
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def latex_text(text: str) -> str:
    r"""Text for a .bib file: what LaTeX would read as a command made literal, accents as commands.

    >>> print(latex_text("João & Söhne"))
    Jo{\~{a}}o \& S{\"{o}}hne
    """
    return escape(text)


def toolkit_bibtex(version: str, commit: str | None) -> str:
    """The entry of iclcheck itself; `commit` is that of the checkout it runs from, if any."""
    at = f", commit {commit}" if commit else ""
    fields = {
        "author": f"{{{latex_text(AUTHOR)}}}",
        "title": f"{{{latex_text(TITLE)}}}",
        "note": latex_text(f"Version {version}{at}"),
    }
    return bibtex_entry("misc", "iclcheck", fields)


AUTHOR = "The iclcheck developers"
TITLE = "iclcheck: checks the theory of in-context learning against trained weights"

WORKS = (
    Work(
        "zhang2024trained",
        "article",
        ("Ruiqi Zhang", "Spencer Frei", "Peter L. Bartlett"),
        "Trained transformers learn linear models in-context",
        "Journal of Machine Learning Research",
        2024,
        {"volume": "25", "number": "49", "pages": "1-55"},
        "2306.09927",
    ),
    Work(
        "ahn2023transformers",
        "inproceedings",
        ("Kwangjun Ahn", "Xiang Cheng", "Hadi Daneshmand", "Suvrit Sra"),
        "Transformers learn to implement preconditioned gradient descent for in-context learning",
        "Advances in Neural Information Processing Systems",
        2023,
        {"volume": "36"},
        "2306.00297",
    ),
    Work(
        "mahankali2024one",
        "inproceedings",
        ("Arvind Mahankali", "Tatsunori B. Hashimoto", "Tengyu Ma"),
        "One step of gradient descent is provably the optimal in-context learner with one layer of linear "
        "self-attention",
        "International Conference on Learning Representations",
        2024,
        arxiv="2307.03576",
    ),
    Work(
        "wu2024pretraining",
        "inproceedings",
        ("Jingfeng Wu", "Difan Zou", "Zixiang Chen", "Vladimir Braverman", "Quanquan Gu", "Peter L. Bartlett"),
        "How many pretraining tasks are needed for in-context learning of linear regression?",
        "International Conference on Learning Representations",
        2024,
        arxiv="2310.08391",
    ),
    Work(
        "vonoswald2023transformers",
        "inproceedings",
        (
            "Johannes von Oswald",
            "Eyvind Niklasson",
            "Ettore Randazzo",
            "João Sacramento",
            "Alexander Mordvintsev",
            "Andrey Zhmoginov",
            "Max Vladymyrov",
        ),
        "Transformers learn in-context by gradient descent",
        "International Conference on Machine Learning",
        2023,
        {"pages": "35151-35174"},
        "2212.07677",
    ),
    Work(
        "vonoswald2023uncovering",
        "article",
        (
            "Johannes von Oswald",
            "Maximilian Schlegel",
            "Alexander Meulemans",
            "Seijin Kobayashi",
            "Eyvind Niklasson",
            "Nicolas Zucchet",
            "Nino Scherrer",
            "Nolan Miller",
            "Mark Sandler",
            "Blaise Agüera y Arcas",
            "Max Vladymyrov",
            "Razvan Pascanu",
            "João Sacramento",
        ),
        "Uncovering mesa-optimization algorithms in Transformers",
        "arXiv preprint",
        2023,
        arxiv="2309.05858",
    ),
    Work(
        "vonoswald2025mesanet",
        "article",
        (
            "Johannes von Oswald",
            "Nino Scherrer",
            "Seijin Kobayashi",
            "Luca Versari",
            "Songlin Yang",
            "Maximilian Schlegel",
            "Kaitlin Maile",
            "Yanick Schimpf",
            "Oliver Sieberling",
            "Alexander Meulemans",
            "Rif A. Saurous",
            "Guillaume Lajoie",
            "Charlotte Frenkel",
            "Razvan Pascanu",
            "Blaise Agüera y Arcas",
            "João Sacramento",
        ),
        "MesaNet: Sequence modeling by locally optimal test-time training",
        "arXiv preprint",
        2025,
        arxiv="2506.05233",
    ),
    Work(
        "tian2023scan",
        "article",
        ("Yuandong Tian", "Yiping Wang", "Beidi Chen", "Simon S. Du"),
        "Scan and snap: Understanding training dynamics and token composition in 1-layer transformer",
        "Advances in Neural Information Processing Systems",
        2023,
        {"volume": "36"},
        "2305.16380",
    ),
    Work(
        "yadlowsky2023pretraining",
        "article",
        ("Steve Yadlowsky", "Lyric Doshi", "Nilesh Tripuraneni"),
        "Pretraining data mixtures enable narrow model selection capabilities in transformer models",
        "arXiv preprint",
        2023,
        {},
        "2311.00871",
    ),
    Work(
        "zhang2025training",
        "inproceedings",
        ("Yedi Zhang", "Aaditya K. Singh", "Peter E. Latham", "Andrew M. Saxe"),
        "Training dynamics of in-context learning in linear attention",
        "International Conference on Machine Learning",
        2025,
        {"pages": "76047-76087"},
        "2501.16265",
    ),
    Work(
        "isserlis1918formula",
        "article",
        ("L. Isserlis",),
        "On a formula for the product-moment coefficient of any order of a normal frequency distribution in any number "
        "of variables",
        "Biometrika",
        1918,
        {"volume": "12", "number": "1/2", "pages": "134-139"},
    ),
    Work(
        "schwartz1980fast",
        "article",
        ("J. T. Schwartz",),
        "Fast probabilistic algorithms for verification of polynomial identities",
        "Journal of the ACM",
        1980,
        {"volume": "27", "number": "4", "pages": "701-717"},
    ),
    Work(
        "zippel1979probabilistic",
        "inproceedings",
        ("Richard Zippel",),
        "Probabilistic algorithms for sparse polynomials",
        "Symbolic and Algebraic Computation (EUROSAM)",
        1979,
        {"pages": "216-226"},
    ),
    Work(
        "brauer1937algebras",
        "article",
        ("Richard Brauer",),
        "On algebras which are connected with the semisimple continuous groups",
        "Annals of Mathematics",
        1937,
        {"volume": "38", "number": "4", "pages": "857-872"},
    ),
    Work(
        "krawczyk1969newton",
        "article",
        ("R. Krawczyk",),
        "Newton-Algorithmen zur Bestimmung von Nullstellen mit Fehlerschranken",
        "Computing",
        1969,
        {"volume": "4", "pages": "187-201"},
    ),
    Work(
        "farouki2012bernstein",
        "article",
        ("Rida T. Farouki",),
        "The Bernstein polynomial basis: A centennial retrospective",
        "Computer Aided Geometric Design",
        2012,
        {"volume": "29", "number": "6", "pages": "379-419"},
    ),
    Work(
        "palais1979symmetric",
        "article",
        ("Richard S. Palais",),
        "The principle of symmetric criticality",
        "Communications in Mathematical Physics",
        1979,
        {"volume": "69", "number": "1", "pages": "19-30"},
    ),
    Work(
        "shampine1997matlab",
        "article",
        ("Lawrence F. Shampine", "Mark W. Reichelt"),
        "The MATLAB ODE suite",
        "SIAM Journal on Scientific Computing",
        1997,
        {"volume": "18", "number": "1", "pages": "1-22"},
    ),
    Work(
        "kingma2015adam",
        "inproceedings",
        ("Diederik P. Kingma", "Jimmy Ba"),
        "Adam: A method for stochastic optimization",
        "International Conference on Learning Representations",
        2015,
        {},
        "1412.6980",
    ),
    Work(
        "delyon2009exponential",
        "article",
        ("Bernard Delyon",),
        "Exponential inequalities for sums of weakly dependent variables",
        "Electronic Journal of Probability",
        2009,
        {"volume": "14"},
    ),
    Work(
        "clopper1934use",
        "article",
        ("C. J. Clopper", "E. S. Pearson"),
        "The use of confidence or fiducial limits illustrated in the case of the binomial",
        "Biometrika",
        1934,
        {"volume": "26", "number": "4", "pages": "404-413"},
    ),
    Work(
        "higham2002accuracy",
        "book",
        ("Nicholas J. Higham",),
        "Accuracy and stability of numerical algorithms",
        "SIAM",
        2002,
        {"edition": "2nd"},
    ),
    Work(
        "sherman1950adjustment",
        "article",
        ("Jack Sherman", "Winifred J. Morrison"),
        "Adjustment of an inverse matrix corresponding to a change in one element of a given matrix",
        "Annals of Mathematical Statistics",
        1950,
        {"volume": "21", "number": "1", "pages": "124-127"},
    ),
    Work(
        "hestenes1952methods",
        "article",
        ("Magnus R. Hestenes", "Eduard Stiefel"),
        "Methods of conjugate gradients for solving linear systems",
        "Journal of Research of the National Bureau of Standards",
        1952,
        {"volume": "49", "number": "6", "pages": "409-436"},
    ),
    Work(
        "polyak1992acceleration",
        "article",
        ("Boris T. Polyak", "Anatoli B. Juditsky"),
        "Acceleration of stochastic approximation by averaging",
        "SIAM Journal on Control and Optimization",
        1992,
        {"volume": "30", "number": "4", "pages": "838-855"},
    ),
    Work(
        "karimi2016linear",
        "inproceedings",
        ("Hamed Karimi", "Julie Nutini", "Mark Schmidt"),
        "Linear convergence of gradient and proximal-gradient methods under the Polyak-Lojasiewicz condition",
        "European Conference on Machine Learning and Knowledge Discovery in Databases",
        2016,
        {"pages": "795-811"},
        arxiv="1608.04636",
    ),
    Work(
        "dormand1980family",
        "article",
        ("J. R. Dormand", "P. J. Prince"),
        "A family of embedded Runge-Kutta formulae",
        "Journal of Computational and Applied Mathematics",
        1980,
        {"volume": "6", "number": "1", "pages": "19-26"},
    ),
    Work(
        "hairer1993solving",
        "book",
        ("Ernst Hairer", "Syvert P. Nørsett", "Gerhard Wanner"),
        "Solving ordinary differential equations I: Nonstiff problems",
        "Springer",
        1993,
        {"edition": "2nd"},
    ),
    Work(
        "vyas2024soap",
        "article",
        (
            "Nikhil Vyas",
            "Depen Morwani",
            "Rosie Zhao",
            "Mujin Kwun",
            "Itai Shapira",
            "David Brandfonbrener",
            "Lucas Janson",
            "Sham Kakade",
        ),
        "SOAP: Improving and stabilizing Shampoo using Adam",
        "arXiv preprint",
        2024,
        arxiv="2409.11321",
    ),
    Work(
        "shazeer2018adafactor",
        "inproceedings",
        ("Noam Shazeer", "Mitchell Stern"),
        "Adafactor: Adaptive learning rates with sublinear memory cost",
        "International Conference on Machine Learning",
        2018,
        arxiv="1804.04235",
    ),
    Work(
        "garg2022can",
        "inproceedings",
        ("Shivam Garg", "Dimitris Tsipras", "Percy Liang", "Gregory Valiant"),
        "What can transformers learn in-context? A case study of simple function classes",
        "Advances in Neural Information Processing Systems",
        2022,
        {"volume": "35"},
        "2208.01066",
    ),
    Work(
        "bareiss1968sylvester",
        "article",
        ("Erwin H. Bareiss",),
        "Sylvester's identity and multistep integer-preserving Gaussian elimination",
        "Mathematics of Computation",
        1968,
        {"volume": "22", "number": "103", "pages": "565-578"},
    ),
    Work(
        "saad2003iterative",
        "book",
        ("Yousef Saad",),
        "Iterative methods for sparse linear systems",
        "SIAM",
        2003,
        {"edition": "2nd"},
    ),
    Work(
        "muirhead1982aspects",
        "book",
        ("Robb J. Muirhead",),
        "Aspects of multivariate statistical theory",
        "Wiley",
        1982,
    ),
    Work(
        "debruijn1955some",
        "article",
        ("N. G. de Bruijn",),
        "On some multiple integrals involving determinants",
        "Journal of the Indian Mathematical Society",
        1955,
        {"volume": "19", "pages": "133-151"},
    ),
    Work(
        "mehta2004random",
        "book",
        ("Madan Lal Mehta",),
        "Random matrices",
        "Elsevier Academic Press",
        2004,
        {"edition": "3rd"},
    ),
    Work(
        "soshnikov2000central",
        "article",
        ("Alexander Soshnikov",),
        "The central limit theorem for local linear statistics in classical compact groups and related combinatorial "
        "identities",
        "The Annals of Probability",
        2000,
        {"volume": "28", "number": "3", "pages": "1353-1370"},
    ),
    Work(
        "diaconis1994eigenvalues",
        "article",
        ("Persi Diaconis", "Mehrdad Shahshahani"),
        "On the eigenvalues of random matrices",
        "Journal of Applied Probability",
        1994,
        {"volume": "31A", "pages": "49-62"},
    ),
    Work(
        "macdonald1995symmetric",
        "book",
        ("Ian G. Macdonald",),
        "Symmetric functions and Hall polynomials",
        "Oxford University Press",
        1995,
        {"edition": "2nd"},
    ),
    Work(
        "hoeffding1956distribution",
        "article",
        ("Wassily Hoeffding",),
        "On the distribution of the number of successes in independent trials",
        "The Annals of Mathematical Statistics",
        1956,
        {"volume": "27", "number": "3", "pages": "713-721"},
    ),
    Work(
        "audibert2009exploration",
        "article",
        ("Jean-Yves Audibert", "Rémi Munos", "Csaba Szepesvári"),
        "Exploration-exploitation tradeoff using variance estimates in multi-armed bandits",
        "Theoretical Computer Science",
        2009,
        {"volume": "410", "number": "19", "pages": "1876-1902"},
    ),
    Work(
        "bahadur1956nonexistence",
        "article",
        ("Raghu Raj Bahadur", "Leonard J. Savage"),
        "The nonexistence of certain statistical procedures in nonparametric problems",
        "The Annals of Mathematical Statistics",
        1956,
        {"volume": "27", "number": "4", "pages": "1115-1122"},
    ),
)

BY_KEY = {work.key: work for work in WORKS}
