"""The page in a real browser: nothing logged, nothing fetched from elsewhere, nothing cut off, readable by all."""

from __future__ import annotations

import ast
import asyncio
import itertools
import json
import time
import tomllib
from pathlib import Path

import pytest

from routemoa.core.pool_file.key_terms import make_tenant
from routemoa.ledger.keys import create_key
from routemoa.testing import FakeEndpoint
from tests.browser import Tab, needs_browser
from tests.gateway.ui.conftest import HOSTILE, PageServer, reply
from tests.gateway.ui.driving import check_readable, check_whole, click, fill

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]

PAGES = ["playground", "live", "traces", "quality", "money", "pool"]
TRACE = {
    "query": {"messages": [{"role": "user", "content": "2 + 2?"}]},
    "method": "routemoa",
    "prior": {"a": 0.6, "b": 0.5},
    "layers": [
        {
            "selected": ["a", "b"],
            "proposals": [
                {"model": "a", "text": "4", "usage": {}, "latency": 0.1, "cost": None},
                {"model": "b", "text": "5", "usage": {}, "latency": None, "cost": None},
            ],
        }
    ],
}
OPEN_FILE = """((name, held) => {{ const chosen = new DataTransfer(); chosen.items.add(new File([held], name));
  const input = document.querySelector('input[type=file][accept*=json]'); input.files = chosen.files;
  input.dispatchEvent(new Event('change', {{bubbles: true}})); }})({}, {})"""
ANSWERED = "document.querySelector('.costs .taken') !== null && document.querySelector('.groups li') !== null"


COUNT = itertools.count()


async def open_page(tab: Tab, served: PageServer, page: str) -> None:
    await tab.open(f"{served.origin}/?{next(COUNT)}#/{page}")  # another address, so that the page is loaded again
    await tab.wait_until("document.querySelector('main h1, main .empty') !== null")


@pytest.mark.parametrize("name", PAGES)
async def test_a_page_is_whole_in_each_width_and_scheme(tab: Tab, page: PageServer, name: str) -> None:
    await open_page(tab, page, name)
    await check_whole(tab, name)
    assert not tab.problems(page.origin)


async def ask(tab: Tab, server: PageServer, question: str) -> None:
    await open_page(tab, server, "playground")
    await fill(tab, ".turns textarea", question)
    await click(tab, "Ask")
    await tab.wait_until(ANSWERED)


async def test_the_playground_shows_how_the_answer_came_about(tab: Tab, page: PageServer) -> None:
    await ask(tab, page, "What is 2 + 2?")
    text = await tab.evaluate("document.querySelector('main').innerText")
    assert "Two and two make four." in text
    assert "best-single" in text
    await check_whole(tab, "an answer")
    assert not tab.problems(page.origin)


async def test_what_a_model_wrote_stays_text(tab: Tab, page: PageServer) -> None:
    await ask(tab, page, "Be hostile: what is 2 + 2?")
    text = await tab.evaluate("document.querySelector('.final').innerText")
    assert HOSTILE.partition(" \x1b")[0] in text
    assert "\u241b[31mred" in text, "control characters are shown as what they are"
    await tab.wait_until("document.querySelector('.facts').innerText.includes('its answer is the likeliest right')")
    assert await tab.evaluate("window.taken") is None
    assert await tab.evaluate("document.querySelectorAll('main script, main img').length") == 0
    assert not tab.problems(page.origin)


async def test_two_methods_answer_side_by_side(tab: Tab, page: PageServer) -> None:
    await tab.set_size(1280)
    await open_page(tab, page, "playground")
    await click(tab, "Compare two")
    await fill(tab, ".choices .field:last-of-type select", "moa")
    await fill(tab, ".turns textarea", "What is 2 + 2, twice?")
    await click(tab, "Ask")
    await tab.wait_until("document.querySelectorAll('.compare .costs .taken').length === 2")
    await tab.wait_until("document.querySelectorAll('.compare .groups').length === 2")
    await tab.wait_until("document.querySelector('.compared').innerText.includes('agree')")
    methods = await tab.evaluate(
        "[...document.querySelectorAll('.taken th')].map(e => e.innerText.split(' ')[0].trim())"
    )
    assert methods == ["routemoa", "moa"]
    assert "4" in await tab.evaluate("document.querySelector('.compared td:nth-last-child(2)').innerText")
    await check_whole(tab, "two answers")
    assert not tab.problems(page.origin)


async def test_an_answer_is_judged_again_without_a_call(tab: Tab, page: PageServer) -> None:
    await ask(tab, page, "What is 2 + 2, once more?")
    calls = page.calls
    await tab.evaluate("document.querySelector('.again-panel summary').click()")
    before = await tab.wait_until("document.querySelector('.groups .number')?.textContent")
    await fill(tab, ".slider:nth-of-type(3) input", "0")  # what agreement counts
    await tab.wait_until(f"document.querySelector('.groups .number').textContent !== {json.dumps(before)}")
    await check_whole(tab, "judged again")
    await click(tab, "Back to the pool's policy")
    await tab.wait_until(f"document.querySelector('.groups .number').textContent === {json.dumps(before)}")
    assert page.calls == calls
    assert not tab.problems(page.origin)


async def test_a_saved_trace_opens_again_and_another_file_says_why_not(tab: Tab, page: PageServer) -> None:
    await open_page(tab, page, "playground")
    await tab.evaluate(
        OPEN_FILE.format(json.dumps("trace.json"), json.dumps(json.dumps({"text": "T", "trace": TRACE})))
    )
    await tab.wait_until(ANSWERED)
    assert "T" in await tab.evaluate("document.querySelector('.final .text').innerText")
    for name, held in (
        ("no.json", "{}"),
        ("wrong.json", '{"trace":{"query":{"messages":[7]},"method":3,"layers":[]}}'),
    ):
        await tab.evaluate(OPEN_FILE.format(json.dumps(name), json.dumps(held)))
        await tab.wait_until("document.querySelector('.problem')?.innerText.includes('trace')")


async def test_feedback_is_kept(tab: Tab, page: PageServer) -> None:
    await ask(tab, page, "What is 2 + 2, at last?")
    await click(tab, "Yes")
    await tab.wait_until("document.querySelector('.feedback [role=status]').textContent !== ''")
    await open_page(tab, page, "traces")
    await tab.wait_until("document.querySelector('.v-box .c-feedback')?.innerText === 'good'")


async def test_the_page_works_on_after_the_server_restarts(tab: Tab, page: PageServer) -> None:
    await open_page(tab, page, "playground")
    page.stop()
    await fill(tab, ".turns textarea", "Is anything there?")
    await click(tab, "Ask")
    await tab.wait_until("document.querySelector('.problem')?.innerText.includes('cannot be reached')")
    await asyncio.to_thread(page.start)
    await click(tab, "Ask")
    await tab.wait_until(ANSWERED)


async def test_a_key_opens_its_own_and_the_admin_key_all(tab: Tab, tmp_path: Path) -> None:
    made = create_key(tmp_path / "store.db", make_tenant("acme", {}, "the test"), time.time())
    async with FakeEndpoint(reply) as upstream:
        server = PageServer(tmp_path, upstream, ROUTEMOA_ADMIN_KEY="an-admin-key-of-some-length")
        await asyncio.to_thread(server.start)
        try:
            await tab.open(f"{server.origin}/?{next(COUNT)}#/playground")
            await tab.wait_until("document.querySelector('.sign-in') !== null")
            await check_readable(tab)
            await sign_in(tab, "tenant", "wrong")
            await tab.wait_until("document.querySelector('.sign-in .problem') !== null")
            await sign_in(tab, "tenant", made.secret)
            await tab.wait_until("document.querySelector('.turns textarea') !== null")
            await fill(tab, ".turns textarea", "What is 2 + 2?")
            await click(tab, "Ask")
            await tab.wait_until(ANSWERED)
            assert await tab.evaluate("document.querySelector('.signed-in summary').textContent") == "acme"
            await click(tab, "Forget the keys")
            await sign_in(tab, "admin", "an-admin-key-of-some-length")
            await tab.wait_until("document.querySelector('.empty')?.innerText.includes('admin key')")
            await click(tab, "Traces")
            await tab.wait_until("document.querySelector('.v-box a') !== null")
            assert made.secret not in await tab.evaluate("JSON.stringify(localStorage) + document.cookie")
        finally:
            server.stop()


async def sign_in(tab: Tab, kind: str, key: str) -> None:
    await tab.wait_until(f"document.querySelector('#key-{kind}') !== null")
    await fill(tab, f"#key-{kind}", key)
    await tab.evaluate(f"document.querySelector('#key-{kind}').form.requestSubmit()")


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
ADD_IMAGE = f"""(() => {{ const chosen = new DataTransfer();
  const bytes = Uint8Array.from(atob('{PIXEL}'), c => c.charCodeAt(0));
  chosen.items.add(new File([bytes], 'a.png', {{type: 'image/png'}}));
  const input = document.querySelector('input[type=file][accept="image/*"]'); input.files = chosen.files;
  input.dispatchEvent(new Event('change', {{bubbles: true}})); }})()"""


async def test_what_is_copied_is_what_is_asked(tab: Tab, page: PageServer) -> None:
    await open_page(tab, page, "playground")
    await fill(tab, ".turns textarea", "It's 2 + 2?")
    await tab.evaluate(ADD_IMAGE)
    await tab.wait_until("document.querySelector('.picture img') !== null")
    await fill(tab, ".options .wide:nth-of-type(1) textarea", "Be brief.")
    await fill(tab, ".options input[type=number]", "0.5")
    await fill(tab, ".options .wide:nth-last-of-type(2) textarea", '{"name": "f", "parameters": {"type": "object"}}')
    await fill(tab, ".choices .field:nth-of-type(2) select", "cheap")
    texts = await tab.evaluate("[...document.querySelectorAll('.code-block pre')].map(e => e.textContent)")
    curl, python, toml = texts
    asked = json.loads(curl.partition("-d '")[2].rstrip()[:-1].replace("'\\''", "'"))
    assert [m["role"] for m in asked["messages"]] == ["system", "user"]
    parts = asked["messages"][1]["content"]
    assert parts[0] == {"type": "text", "text": "It's 2 + 2?"}
    assert parts[1]["image_url"]["url"] == f"data:image/png;base64,{PIXEL}"
    assert asked["tools"] == [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    assert asked["routemoa"] == {"max_cost": 0.5, "prefer": "cheap"}
    written = ast.parse(python)
    call = next(n for n in ast.walk(written) if isinstance(n, ast.Call) and ast.unparse(n.func).endswith("create"))
    fields = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
    assert fields.pop("extra_body") == {"routemoa": asked.pop("routemoa")}
    assert fields == asked
    assert tomllib.loads(toml) == {"mixture": {"prefer": "cheap"}, "limits": {"max_cost": 0.5}}
    before = page.calls
    await click(tab, "Ask")
    await tab.wait_until(ANSWERED)
    assert page.last["messages"][0]["content"].startswith("Be brief.")
    assert page.last["messages"][1]["content"][1]["type"] == "image_url"
    assert page.last["tools"] == asked["tools"]
    assert page.calls > before
    await fill(tab, ".options .wide:nth-last-of-type(2) textarea", "no JSON")
    await click(tab, "Ask")
    await tab.wait_until("document.querySelector('.problem')?.innerText.includes('no JSON')")
    assert not tab.problems(page.origin)


async def test_what_a_method_refuses_is_said(tab: Tab, page: PageServer) -> None:
    await open_page(tab, page, "playground")
    await fill(tab, ".choices .field:nth-of-type(1) select", "moa")
    await fill(tab, ".turns textarea", "2 + 2?")
    await fill(tab, ".options .wide:nth-last-of-type(2) textarea", '[{"name": "f", "parameters": {"type": "object"}}]')
    await click(tab, "Ask")
    await tab.wait_until("document.querySelector('.problem')?.innerText.includes('moa does not support this')")


@pytest.mark.alone
async def test_the_first_paint_comes_within_300_ms(tab: Tab, page: PageServer) -> None:
    await open_page(tab, page, "playground")
    await tab.wait_until("performance.getEntriesByName('first-contentful-paint').length > 0")  # told a moment later
    paint = await tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert paint < 300
