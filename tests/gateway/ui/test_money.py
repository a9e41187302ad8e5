"""Savings, caches and forecasts are estimates that say what they rest on; each key sees its own ledger."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from routemoa.core.access.secret_keys import digest_secret
from routemoa.core.types import ModelSpec
from routemoa.gateway.ui.money_sums import describe_cache, estimate_saving, forecast_budget
from routemoa.ledger import BudgetState
from routemoa.ledger.sums.call_sums import CallSums
from routemoa.testing import FakeEndpoint
from tests.gateway.traces.test_endpoints import ACME, OTHER, TENANTS
from tests.gateway.ui.test_routes import ADMIN, ask, get, showing
from tests.gateway.ui.test_trace_search import FACTS

SUMS = CallSums("2026-11-26", "-", "routemoa", "m", "proposal", 2, 0, 0, 0, 1000, 10, 400, 0, 1.0, 1.0, 2.0, 2)


def test_a_saving_is_over_the_answers_of_which_both_are_known() -> None:
    facts = [FACTS, replace(FACTS, cost=None), replace(FACTS, moa_cost=None), replace(FACTS, cost=0.02, moa_cost=0.01)]
    saving = estimate_saving(facts, lambda f: f.moa_cost)
    assert saving.answers == 2
    assert [saving.cost, saving.estimate] == pytest.approx([0.03, 0.06])


def test_cache_hits_are_priced_only_where_there_is_a_price() -> None:
    priced = ModelSpec("m", "http://x/v1", input_price=10.0, output_price=1.0, cached_price=1.0)
    assert describe_cache([SUMS], [priced])["saved"] == pytest.approx(400 * 9 / 1e6)
    assert describe_cache([SUMS], [ModelSpec("m", "http://x/v1")])["saved"] is None
    assert describe_cache([], [])["prompt_tokens"] is None


@pytest.mark.parametrize(
    ("used", "now", "forecast", "spent_by"), [(1.0, 1.0, None, None), (1.0, 50.0, 2.0, None), (4.0, 25.0, 16.0, 62.5)]
)
def test_a_forecast_goes_on_as_so_far(used: float, now: float, forecast: float | None, spent_by: float | None) -> None:
    found = forecast_budget(BudgetState("*", "day", 10.0, used, 0.0, 100.0), now)
    assert (found["forecast"], found["spent_by"]) == (forecast, spent_by)


async def test_a_key_sees_what_it_spent_and_the_admin_key_everything(tmp_path: Path) -> None:
    async with (
        FakeEndpoint("The answer is 4.") as upstream,
        showing(upstream.url, tmp_path, TENANTS, admin_key=digest_secret("admin")) as served,
    ):
        await ask(served, ACME)
        await ask(served, OTHER)
        await ask(served, OTHER)
        for headers, keys in ((ACME, {"acme"}), (OTHER, {"other"}), (ADMIN, {"acme", "other"})):
            for query in ("", "?key=other"):
                status, money = await get(served, f"/ui/api/money{query}", headers)
                assert status == 200
                seen = {group["group"] for group in money["groups"]["key"]}
                assert seen == ({"other"} if query and headers is ADMIN else keys)
        rows = await read_csv(f"{served.url.removesuffix('/v1')}/ui/api/money.csv?by=call", ACME)
        assert {row["key"] for row in rows} == {"acme"}
        rows = await read_csv(f"{served.url.removesuffix('/v1')}/ui/api/money.csv?by=key", ADMIN)
        assert {row["key"] for row in rows} == {"acme", "other"}
        for query in ("days=0", "days=x", "days=9999"):
            assert (await get(served, f"/ui/api/money?{query}", ACME))[0] == 400
        assert (await get(served, "/ui/api/money.csv?by=colour", ACME))[0] == 400
        assert (await get(served, "/ui/api/money"))[0] == 401


async def read_csv(url: str, headers: dict[str, str]) -> list[dict[str, str]]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as reply:
        return list(csv.DictReader(io.StringIO(await reply.text())))
