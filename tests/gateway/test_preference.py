"""A request chooses its trade-off of quality, cost and time: of the mixture, and of nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import ModelSpec
from routemoa.testing import FakeEndpoint
from tests.gateway.harness import HI, Script, serving

NAMES = ("routemoa", "moa")


def pool_of(url: str, mixture: Mixture = Mixture()) -> Pool:  # noqa: B008  (frozen)
    models = (ModelSpec(name, url, name, prior=prior) for name, prior in (("a", 0.72), ("b", 0.6), ("c", 0.58)))
    return Pool(tuple(models), mixture)


async def test_the_mixture_follows_it() -> None:
    poem: Any = [{"role": "user", "content": "Write a poem about the sea."}]
    proposers = {}
    async with FakeEndpoint("The sea, the sea.") as upstream, serving(pool=pool_of(upstream.url)) as s:
        for prefer in (None, "cheap", "quality"):
            body = {"model": "routemoa", "messages": poem, "routemoa": {"prefer": prefer} if prefer else {}}
            reply = (await (await s.raw(body)).whole()).json
            proposers[prefer] = len(reply["routemoa"]["proposers"])
    assert proposers["cheap"] == 1 < proposers["quality"], proposers


@pytest.mark.parametrize("name", ["moa", "a", "published"])
async def test_elsewhere_it_is_refused_by_name(name: str) -> None:
    mixture = Mixture(fusion="published-small") if name == "published" else Mixture()
    pool = pool_of("http://127.0.0.1:9/v1", mixture)
    body = {"model": "routemoa" if name == "published" else name, "messages": HI, "routemoa": {"prefer": "cheap"}}
    async with serving(pool=pool, names=NAMES) as s:
        reply = await (await s.raw(body)).whole()
    assert (reply.status, reply.error["param"]) == (400, "routemoa.prefer")


@pytest.mark.parametrize("wrong", ["dear", 1, ["cheap"], {"quality": 1}])
async def test_a_wrong_one_is_a_400(wrong: Any) -> None:
    async with serving(Script()) as s:
        body = {"model": "routemoa", "messages": HI, "routemoa": {"prefer": wrong}}
        reply = await (await s.raw(body)).whole()
    assert (reply.status, reply.error["param"]) == (400, "routemoa.prefer")
    assert "quality, balanced, cheap, fast" in reply.error["message"]


async def test_limits_beside_it_hold() -> None:
    script = Script()
    async with serving(script) as s:
        body = {"model": "routemoa", "messages": HI, "routemoa": {"prefer": "fast", "max_calls": 2}}
        await (await s.raw(body)).whole()
    (query,) = script.queries
    assert query.prefer == "fast"
    assert query.limits.max_calls == 2
