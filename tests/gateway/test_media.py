"""Images, audio and files through the mixture, with OpenAI's SDK over real sockets."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from openai import BadRequestError

from routemoa.core.content.media import FILE_TOKENS, IMAGE_TOKENS
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import Message, ModelSpec, Request
from routemoa.mixture.budget.account import max_prompt_tokens
from routemoa.mixture.budget.context import ContextFit, context_fit
from routemoa.testing.endpoint import Fault
from tests.gateway.harness import serving
from tests.gateway.test_tools import Panel, serve

PIXEL = "data:image/png;base64," + "iVBORw0KGgo" * 1000
IMAGE: Any = {"type": "image_url", "image_url": {"url": PIXEL, "detail": "high"}}
LINK: Any = {"type": "image_url", "image_url": {"url": "https://example.invalid/cat.png"}}
AUDIO: Any = {"type": "input_audio", "input_audio": {"data": "UklGRg==" * 100, "format": "wav"}}
FILE: Any = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}
TEXT: Any = {"type": "text", "text": "What is 2 + 2? Look at it and answer with a number."}


def ask(*parts: Any) -> Any:
    return [{"role": "user", "content": [TEXT, *parts]}]


class Seeing(Panel):
    """A panel whose members take what `modalities` says."""

    modalities: dict[str, Any]

    def pool(self) -> Pool:
        pool = super().pool()
        models = [msgspec.structs.replace(m, modalities=self.modalities.get(m.name)) for m in pool]
        return Pool(tuple(models), self.mixture)


def panel(modalities: dict[str, Any], **replies: Any) -> Seeing:
    made = Seeing(**replies)
    made.modalities = modalities
    return made


@pytest.mark.parametrize("part", [IMAGE, LINK, AUDIO, FILE], ids=["image", "link", "audio", "file"])
async def test_members_get_the_callers_part_as_it_is(part: Any) -> None:
    """Nothing is fetched or changed on the way, and judging appends its text behind the part."""
    every = ("text", "image", "audio", "file")
    made = panel({"a": every, "b": every, "c": ("text",)}, a="4", b="4", c="4")
    made.mixture = Mixture(self_assessment="spoken")
    async with serve(made) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ask(part))
        assert reply.choices[0].message.content == "4"
        assert made.asked() == {"a": 1, "b": 1, "c": 0}
        for name in "ab":
            content = made.endpoints[name].requests[0]["messages"][-1]["content"]
            assert content[:2] == [TEXT, part]
        assert any(len(made.endpoints[n].requests[0]["messages"][-1]["content"]) == 3 for n in "ab")
        assert set(reply.model_extra["routemoa"]["skipped"]) == {"c"}


REFUSALS = [
    (404, "No endpoints found that support image input"),
    (500, "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"),
    (400, "Invalid content type. image_url is only supported by certain models."),
    (400, "/models/llama is not a multimodal model"),
    (400, "At most 0 image(s) may be provided in one request."),
    (422, "Failed to deserialize the JSON body: messages[0]: unknown variant `image_url`, expected `text`"),
    (400, "messages[0].content must be a string"),
    (400, "This model does not support vision."),
]


@pytest.mark.parametrize(("status", "said"), REFUSALS)
async def test_a_refusal_is_remembered(status: int, said: str) -> None:
    """Another member answers in its place, and it is not asked again with an image, only with text."""

    def reply(body: dict[str, Any]) -> Any:
        has_image = "image_url" in json.dumps(body["messages"])
        return Fault(status=status, message=said) if has_image else "4"

    made = panel({}, a=reply, b="4", c="4")
    async with serve(made) as served:
        create = served.sdk.chat.completions.create
        first = await create(model="routemoa", messages=ask(IMAGE))
        assert first.choices[0].message.content == "4"
        asked = made.asked()["a"]
        second = await create(model="routemoa", messages=ask(IMAGE))
        assert made.asked()["a"] == asked
        assert second.model_extra["routemoa"]["skipped"] == {"a": "skipped: it takes no image"}
        await create(model="routemoa", messages=[{"role": "user", "content": "What is 2 + 2? Answer with a number."}])
        assert made.asked()["a"] == asked + 1


@pytest.mark.parametrize(
    "said",
    [
        "Invalid image data: could not decode",
        "The image is too large, at most 20 MB are supported",
        "You uploaded an unsupported image. Please make sure your image is valid.",
        "Unsupported MIME type: image/tiff is not supported",
        "Failed to download image from https://example.invalid/cat.png",
        "At most 5 image(s) may be provided",
    ],
)
async def test_a_bad_image_teaches_nothing(said: str) -> None:
    made = panel({}, a=lambda body: Fault(status=400, message=said), b="4", c="4")
    async with serve(made) as served:
        for _ in range(2):
            reply = await served.sdk.chat.completions.create(model="routemoa", messages=ask(IMAGE))
            assert "a" not in reply.model_extra["routemoa"]["skipped"]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([IMAGE], "no image"),
        ([AUDIO], "no audio"),
        ([FILE], "no file"),
        ([IMAGE, FILE], "no file and no image"),
    ],
)
async def test_no_member_takes_it(parts: Any, words: str) -> None:
    made = panel({"a": ("text",), "b": ("text",)}, a="4", b="4")
    async with serve(made) as served:
        with pytest.raises(BadRequestError, match=words) as caught:
            await served.sdk.chat.completions.create(model="routemoa", messages=ask(*parts))
        assert caught.value.param == "messages"
        assert made.asked() == {"a": 0, "b": 0}


async def test_no_member_takes_all() -> None:
    made = panel({"a": ("text", "image"), "b": ("text", "audio")}, a="4", b="4")
    async with serve(made) as served:
        with pytest.raises(BadRequestError, match="not all of audio, image together"):
            await served.sdk.chat.completions.create(model="routemoa", messages=ask(IMAGE, AUDIO))


async def test_a_text_only_member_writes_from_the_texts() -> None:
    """It is sent the others' answers and a note that there was an image, not the image."""
    sees = ("text", "image")
    made = panel({"a": sees, "b": sees, "w": ("text",)}, a="A cat sits.", b="Some dog runs fast.", w="A cat and a dog.")
    made.mixture = Mixture(aggregator="w", open="synthesize")
    question: Any = [{"role": "user", "content": [{"type": "text", "text": "Write a poem about the picture."}, IMAGE]}]
    async with serve(made) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=question)
        assert reply.choices[0].message.content == "A cat and a dog."
        assert reply.model_extra["routemoa"]["aggregator"] == "w"
        (body,) = made.endpoints["w"].requests
        sent = json.dumps(body)
        assert "image_url" not in sent
        assert "[an image that is not shown here]" in sent
        assert "A cat sits." in sent


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ({"type": "image_url"}, "image_url"),
        ({"type": "image_url", "image_url": "https://x/y.png"}, "image_url"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:text/html,x"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "https://x/" + "y" * 9000}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": PIXEL, "detail": "ultra"}}, "image_url.detail"),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, "input_audio.data"),
        ({"type": "input_audio", "input_audio": {"data": "aa", "format": "../x"}}, "input_audio.format"),
        ({"type": "file", "file": {}}, "file"),
        ({"type": "file", "file": {"file_id": "f", "file_data": "x"}}, "file"),
        ({"type": "file", "file": {"file_data": 3}}, "file.file_data"),
        ({"type": "video_url", "video_url": {"url": "https://x"}}, ""),
    ],
)
async def test_malformed_parts(part: Any, place: str) -> None:
    async with serve(panel({}, a="4", b="4")) as served:
        with pytest.raises(BadRequestError) as caught:
            await served.sdk.chat.completions.create(model="routemoa", messages=ask(part))
        assert caught.value.param == "messages[0].content[1]" + (f".{place}" if place else "")


async def test_too_many_and_other_turns() -> None:
    async with serve(panel({}, a="4", b="4")) as served:
        create = served.sdk.chat.completions.create
        with pytest.raises(BadRequestError, match="more than 100"):
            await create(model="routemoa", messages=ask(*[LINK] * 101))
        for role in ("system", "assistant"):
            with pytest.raises(BadRequestError, match="user turns"):
                await create(model="routemoa", messages=[{"role": role, "content": [LINK]}, *ask()])


def test_tokens_are_counted_by_kind_not_by_length() -> None:
    """A data URL is no text: neither a context nor a budget counts its characters."""
    spec = ModelSpec("a", "http://x/v1", context=8_000)
    for part, most in ((IMAGE, IMAGE_TOKENS), (FILE, FILE_TOKENS)):
        large = json.loads(json.dumps(part).replace("base64,", "base64," + "A" * 4_000_000))
        request = Request((Message("user", TEXT["text"], body={"role": "user", "content": [TEXT, large]}),))
        assert most < max_prompt_tokens(spec, request) < most + 1_000
        assert context_fit(spec, request) is not ContextFit.NEVER
    request = Request((Message("user", "x", body={"role": "user", "content": [IMAGE]}),))
    assert context_fit(spec, request) is ContextFit.FITS


async def test_limits_hold_with_images() -> None:
    """Under a limit an image counts at its most, for the mixture as for a single member; audio is refused."""
    priced = dict[str, Any](input_price=1.0, output_price=1.0)
    made = panel({}, a="4", b="4")
    async with made.endpoints["a"] as a:
        pool = Pool((ModelSpec("a", a.url, prior=0.9, **priced),))
        async with serving(pool=pool) as served:
            create = served.sdk.chat.completions.create
            for model in ("routemoa", "a"):
                for cost, part in ((0.01, IMAGE), (1.0, AUDIO), (1.0, FILE)):
                    with pytest.raises(BadRequestError):
                        await create(model=model, messages=ask(part), extra_body={"routemoa": {"max_cost": cost}})
                assert not a.requests or model == "a"
                await create(model=model, messages=ask(IMAGE), extra_body={"routemoa": {"max_cost": 1.0}})


async def test_baselines_take_text() -> None:
    made = panel({}, a="4", b="4")
    async with made.endpoints["a"], made.endpoints["b"], serving(pool=made.pool(), names=("moa",)) as served:
        with pytest.raises(BadRequestError, match="moa takes text only, no image"):
            await served.sdk.chat.completions.create(model="moa", messages=ask(IMAGE))
