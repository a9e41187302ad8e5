"""The report's page as text: one file, model output is only text, and what is unknown is stated."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from msgspec.structs import replace

from routemoa.core.errors import MissingExtra
from routemoa.evaluation.outcomes import Outcome, Run
from tests.evaluation.report.test_figures import HOSTILE, RUN, make_outcomes, replay_run, report_of, unfinished_run

pytest.importorskip("matplotlib", reason="the charts need the extra plot")
pytest.importorskip("jinja2", reason="the page needs the extra plot")


def render_page(run: Run, outcomes: list[Outcome]) -> str:
    from routemoa.evaluation.report.page import render

    return render(report_of(run, outcomes))


class Outline(HTMLParser):
    """Elements, ids and attributes of a page; text inside elements that run or style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.levels: list[int] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        self.ids += [v for k, v in attrs if k == "id" and v]
        if re.fullmatch(r"h\d", tag):
            self.levels.append(int(tag[1]))


@pytest.mark.parametrize("hostile", [False, True])
def test_the_page_is_one_file_of_text_and_pictures(hostile: bool) -> None:
    text = render_page(*replay_run(hostile=hostile))
    found = Outline(text)
    assert not {"script", "img", "iframe", "object", "embed", "form"} & set(found.tags)
    assert found.tags["style"] == 1
    assert not [k for k, _ in found.attributes if k.startswith("on")]
    outside = [
        v
        for k, v in found.attributes
        if k in ("href", "src", "xlink:href") and not (v or "").startswith(("#", "data:"))
    ]
    assert outside == []
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in text
    assert len(found.ids) == len(set(found.ids))
    assert {v[1:] for k, v in found.attributes if k == "href" and v and v.startswith("#")} <= set(found.ids)
    assert found.levels[0] == 1
    assert all(b - a <= 1 for a, b in zip(found.levels, found.levels[1:], strict=False))
    assert found.tags["svg"] >= 8
    assert found.tags["table"] == found.tags["caption"] >= 10
    assert text.isprintable() or not re.search(r"[\x00-\x08\x0e-\x1f\u202e]", text)


def test_templates_escape_everything() -> None:
    templates = files("routemoa.evaluation.report") / "templates"
    sources = {f.name: f.read_text() for f in templates.iterdir() if f.name.endswith(".html")}
    assert "page.html" in sources
    for name, source in sources.items():
        assert not re.search(r"\|\s*safe|autoescape|Markup", source), name
    assert sum("inline_svg" in source for source in sources.values()) == 1
    text = render_page(*replay_run(hostile=True))
    assert not [part for part in HOSTILE if part in text]
    assert "&lt;img src=x onerror=window.taken=1&gt;" in text


def test_without_jinja2_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r"jinja2.*run  .*\[plot\]"):
        render_page(*unfinished_run())


def test_every_label_of_a_picture_names_what_is_there() -> None:
    text = render_page(*replay_run())
    ids = set(Outline(text).ids)
    labels = re.findall(r'aria-labelledby="([^"]+)"', text)
    assert labels
    assert all(name in ids for label in labels for name in label.split())
    assert text.count('role="img"') == text.count("<svg ")
    assert "#0072b2" not in text.split("</style>")[1], "a colour does not follow the page"
    assert "mathdefault" not in text
    assert "Not run, so unknown: without cross-assessments" in text


def test_the_same_outcomes_give_the_same_bytes() -> None:
    assert render_page(*replay_run()) == render_page(*replay_run())


def test_a_page_without_prices_and_confidences_says_so_and_leaves_out_what_is_empty() -> None:
    text = render_page(*unfinished_run())
    assert "This run is not finished" in text
    assert "Dollars are unknown for every method, because a model that was called has no known price" in text
    assert headings(text) == [
        "Summary",
        "What to do",
        "All methods",
        "Accuracy against tokens and tokens on the critical path",
        "Spending relative to the dense mixture",
        "Differences to best-single, by task",
        "Models called and chosen",
        "Layers",
        "Caveats",
    ]
    assert "A failure counts as a wrong answer: routemoa 1." in text
    columns = re.findall(r'<th scope="col"[^>]*>([^<]*)', text.split("<tbody>")[0])
    assert "dollars" not in columns
    assert "tokens" in columns
    assert "nan" not in re.sub(r"<[^>]*>", " ", text).lower().split()


def headings(text: str) -> list[str]:
    return re.findall(r"<h2[^>]*>([^<]+)</h2>", text)


@pytest.mark.parametrize("run", [replay_run, unfinished_run])
def test_the_navigation_and_the_headings_say_the_same(run: Callable[[], tuple[Run, list[Outcome]]]) -> None:
    text = render_page(*run())
    links = re.findall(r'<li><a href="#(\w+)">([^<]+)</a></li>', text)
    assert [heading for _, heading in links] == headings(text)
    for anchor, heading in links:
        section = text.split(f'<h2 id="{anchor}">{heading}</h2>')[1].split("</section>")[0]
        assert re.sub(r"<[^>]*>", "", section).strip(), heading


def test_advice_and_warnings_are_on_the_page_and_only_their_code_is_markup() -> None:
    run, outcomes = replay_run()
    text = render_page(replace(run, warnings=("use `single:<b>` and & not `moa`",)), outcomes)
    assert "use <code>single:&lt;b&gt;</code> and &amp; not <code>moa</code>" in text
    advice = text.split('id="advice">')[1].split("</section>")[0]
    assert advice.count("<li>") >= 2
    assert "Use <code>" in advice


@pytest.mark.parametrize(
    "outcomes",
    [
        make_outcomes([("routemoa", None)], 1),
        make_outcomes([("moa", 1.0)], 1),
        make_outcomes([("routemoa", 1.0), ("best-single", 1.0), ("moa", 1.0)], 1),
        [replace(o, cost=0.0, seconds=0.0, calls=0) for o in make_outcomes([("routemoa", 0.0), ("moa", 0.0)], 3)],
    ],
    ids=["ungraded", "only moa", "one question", "all zero"],
)
def test_the_smallest_runs_have_a_page(outcomes: list[Outcome]) -> None:
    assert "Caveats" in render_page(RUN, outcomes)
