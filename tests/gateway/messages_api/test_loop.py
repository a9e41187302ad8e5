"""A tool loop of the Messages API by hand, whole and streamed, with the marks that agents set."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.playback import read_events
from tests.gateway.test_tools import Panel, calls, serve

TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
MARK = {"cache_control": {"type": "ephemeral"}}
ASK: Any = [{"role": "user", "content": [{"type": "text", "text": "What is the weather in Paris?", **MARK}]}]


def reply(body: dict[str, Any]) -> Any:
    return "It is 18 degrees." if body["messages"][-1]["role"] == "tool" else calls({"city": "Paris"})


@pytest.mark.parametrize("stream", [False, True])
async def test_the_model_that_called_goes_on_alone(stream: bool) -> None:
    panel = Panel(a=calls({"city": "Rome"}), b=reply, c=reply)
    async with serve(panel) as served:
        body: dict[str, Any] = {"model": "routemoa", "max_tokens": 99, "tools": [TOOL], "stream": stream}

        async def ask(messages: Any) -> list[dict[str, Any]]:
            response = await (await served.raw({**body, "messages": messages}, "/messages")).whole()
            assert response.status == 200, response.body
            if not stream:
                content: list[dict[str, Any]] = response.json["content"]
                return content
            blocks = [e["content_block"] for e in read_events(response.body) if e["type"] == "content_block_start"]
            for event in read_events(response.body):
                if event["type"] == "content_block_delta" and event["delta"]["type"] == "text_delta":
                    blocks[event["index"]]["text"] += event["delta"]["text"]
            return [{**b, "input": {"city": "Paris"}} if b["type"] == "tool_use" else b for b in blocks]

        content = await ask(ASK)
        assert [(b["type"], b["name"], b["input"]) for b in content] == [("tool_use", "weather", {"city": "Paris"})]
        before = panel.asked()
        result = {"type": "tool_result", "tool_use_id": content[0]["id"], "content": "18 C", **MARK}
        answer = await ask([*ASK, {"role": "assistant", "content": content}, {"role": "user", "content": [result]}])
        assert answer == [{"type": "text", "text": "It is 18 degrees."}]
        made = {m: n - before[m] for m, n in panel.asked().items()}
        assert made["a"] == 0
        assert sum(made.values()) == 1
        chosen = next(m for m, n in made.items() if n)
        sent = panel.endpoints[chosen].requests[-1]["messages"]
        assert [m["role"] for m in sent] == ["user", "assistant", "tool"]
        assert (sent[0]["content"], sent[2]["content"]) == (ASK[0]["content"][0]["text"], "18 C")
