"""JSON of a schema through the mixture, with OpenAI's SDK over real sockets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import BadRequestError, InternalServerError
from pydantic import BaseModel

from routemoa.core.tables.mixture_table import Mixture
from routemoa.testing import Fault
from tests.gateway.test_tools import Panel, serve

ASK: Any = [{"role": "user", "content": "What is the capital of France, and how many people live there?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer", "minimum": 1}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "capital", "schema": SCHEMA, "strict": True}}
GOOD = {"city": "Paris", "people": 2100000}


class Capital(BaseModel):
    city: str
    people: int


async def test_equal_values_agree() -> None:
    """The order of keys and a code fence make no difference; members are sent the caller's format."""
    panel = Panel(a=json.dumps(GOOD), b='```json\n{"people": 2100000.0, "city": "Paris "}\n```', c="{}")
    async with serve(panel) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, response_format=FORMAT)
        assert json.loads(reply.choices[0].message.content) == GOOD
        assert panel.asked() == {"a": 1, "b": 1, "c": 0}
        assert panel.endpoints["a"].requests[0]["response_format"] == FORMAT
        assert panel.endpoints["a"].requests[0]["messages"] == ASK


async def test_wrong_answer_is_repaired_once() -> None:
    """The same model is shown its answer and what is wrong with it."""

    def reply(body: dict[str, Any]) -> str:
        return json.dumps(GOOD if len(body["messages"]) > 1 else {"city": "Paris"})

    panel = Panel(a=reply, b=reply)
    async with serve(panel) as served:
        answer = await served.sdk.chat.completions.create(
            model="routemoa", messages=ASK, response_format=FORMAT, max_tokens=60, temperature=0.1
        )
        assert json.loads(answer.choices[0].message.content) == GOOD
        assert panel.asked() == {"a": 2, "b": 2}
        sent = [(r["max_tokens"], r["temperature"]) for r in panel.endpoints["a"].requests]
        assert sent == [(60, 0.1)] * 2, "the mended answer is an answer, with the caller's parameters"
        *_, shown, asked = panel.endpoints["a"].requests[-1]["messages"]
        assert shown == {"role": "assistant", "content": '{"city": "Paris"}'}
        assert '"people" is a required property' in asked["content"]


@pytest.mark.parametrize("wrong", ["Paris.", '{"city": "Par', '{"city": 3, "people": 2}', "[1, 2]", "null", "{}" * 9])
async def test_what_leaves_is_valid_or_an_error(wrong: str) -> None:
    """A model that cannot is passed over; where none can, the error says so."""
    panel = Panel(a=wrong, b=json.dumps(GOOD), c=wrong)
    async with serve(panel) as served:
        create = served.sdk.chat.completions.create
        answer = await create(model="routemoa", messages=ASK, response_format=FORMAT)
        assert json.loads(answer.choices[0].message.content) == GOOD
        assert answer.model_extra["routemoa"]["choice"] == "b"
    async with serve(Panel(a=wrong, b=wrong)) as served:
        with pytest.raises(InternalServerError, match="a: its answer is not the JSON that was asked for: "):
            await served.sdk.chat.completions.create(model="routemoa", messages=ASK, response_format=FORMAT)


async def test_streams_hold_one_value() -> None:
    """Nothing of an answer that turns out wrong is streamed, not even where one model is asked alone."""
    panel = Panel(a='{"city": "Rome", "people": "many"}', b=json.dumps(GOOD))
    panel.priors = [0.999, 0.2]
    async with serve(panel) as served:
        async with served.sdk.chat.completions.stream(
            model="routemoa", messages=ASK, response_format=Capital
        ) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.parsed == Capital(city="Paris", people=2100000)


async def test_judging_stays_out_of_the_json() -> None:
    panel = Panel(a=json.dumps(GOOD), b=json.dumps({**GOOD, "people": 5}), c=json.dumps(GOOD))
    panel.mixture = Mixture(self_assessment="spoken", later_layers="refine")
    async with serve(panel) as served:
        answer = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, response_format=FORMAT)
        assert json.loads(answer.choices[0].message.content) == GOOD
        for endpoint in panel.endpoints.values():
            assert all(request["messages"] == ASK for request in endpoint.requests)


async def test_aggregator_writes_under_the_schema() -> None:
    """Values of prose are open answers; what the aggregator writes is checked, else the best proposal stands."""
    prose = "Paris is the capital of France and its largest city, on the river Seine, with many museums."

    def reply(city: str) -> Any:
        proposed = json.dumps({"city": city, "people": 2})
        return lambda body: "I would merge them." if "quoted" in json.dumps(body["messages"]) else proposed

    panel = Panel(a=reply(prose), b=reply(prose[::-1]))
    panel.mixture = Mixture(open="synthesize")
    describe: Any = {"role": "user", "content": "Describe the capital of France."}
    async with serve(panel) as served:
        answer = await served.sdk.chat.completions.create(
            model="routemoa",
            messages=[describe],
            response_format=FORMAT,
        )
        assert json.loads(answer.choices[0].message.content)["city"] == prose


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"type": "yaml"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "objekt"}}},
            "response_format.json_schema.schema",
        ),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "http://127.0.0.1:9/s.json"}}},
            "response_format.json_schema.schema",
        ),
    ],
)
async def test_malformed_formats_are_refused(wanted: Any, param: str) -> None:
    panel = Panel(a="x")
    async with serve(panel) as served:
        with pytest.raises(BadRequestError) as error:
            await served.sdk.chat.completions.create(model="routemoa", messages=ASK, response_format=wanted)
        assert error.value.param == param
        assert panel.asked() == {"a": 0}


async def test_json_object_is_any_object() -> None:
    panel = Panel(a="[1]", b='{"a": [1]}', c='{"a": [1]}')
    async with serve(panel) as served:
        wanted: Any = {"type": "json_object"}
        answer = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, response_format=wanted)
        assert json.loads(answer.choices[0].message.content) == {"a": [1]}


@pytest.mark.parametrize("mode", [None, "final", "leader"])
async def test_time_limit_lets_no_part_of_a_form_out(mode: str | None) -> None:
    """The beginning of an answer is no value of the schema, so the request fails instead."""
    panel = Panel(a="Paris is the capital of France.", b="Paris is the capital.")
    for endpoint in panel.endpoints.values():
        endpoint._faults = Fault(between=0.4)
    async with serve(panel) as served:
        raw: Any = {"routemoa": {"max_seconds": 1.2} | ({"stream_mode": mode} if mode else {})}
        with pytest.raises(InternalServerError):
            await served.sdk.chat.completions.create(
                model="routemoa", messages=ASK, response_format=FORMAT, stream=mode is not None, extra_body=raw
            )
