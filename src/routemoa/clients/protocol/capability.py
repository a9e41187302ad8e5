"""What a member's endpoint cannot do at all, read from its refusals: then another member is asked instead. Pure.

    "registry.ollama.ai/library/gemma does not support tools"                 Ollama, 400
    "No endpoints found that support tool use"                                OpenRouter, 404
    '"auto" tool choice requires --enable-auto-tool-choice'                   vLLM, 400
    "tools param requires --jinja flag"                                       llama.cpp, 500
    "image input is not supported - hint: ... provide the mmproj"             llama.cpp, 500
    "No endpoints found that support image input"                             OpenRouter, 404
    "Invalid content type. image_url is only supported by certain models."    OpenAI, 400
    "llama is not a multimodal model"                                         vLLM, 400

A field that merely shades an answer is left out instead (`dialect_learning`): without its tools a request would be
another one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from routemoa.core.content.media import Modality, media_kinds

__all__ = ["Capability", "refused_capability"]

Capability = Literal["tools", "image", "audio", "file"]

STATUSES = frozenset({400, 404, 405, 422, 500, 501})
MEDIA_STATUSES = STATUSES | {415}
_TOOLS = re.compile(r"\btools?\b|\btool[ _-]?(?:use|call|choice)|\bfunction[ _-]?call", re.IGNORECASE)
_CANNOT = re.compile(
    r"not support|n't support|unsupported|no endpoints found|requires? --|not (?:available|enabled|allowed|implemented)"
    r"|unrecogni[sz]ed|unknown (?:field|parameter|argument)|extra (?:inputs?|fields?)|extra_forbidden|不支持",
    re.IGNORECASE,
)
_MEDIA: dict[Modality, re.Pattern[str]] = {
    "image": re.compile(r"\bimages?\b|image_url|\bvision\b|multi-?modal|mmproj", re.IGNORECASE),
    "audio": re.compile(r"\baudios?\b|input_audio|multi-?modal|mmproj", re.IGNORECASE),
    "file": re.compile(r"\bfiles?\b|\bdocuments?\b|\bpdfs?\b|multi-?modal", re.IGNORECASE),
}
_CANNOT_TAKE = re.compile(
    r"only supported by|is not a multimodal|at most 0 |unknown variant|text[- ]only|only (?:supports? )?text"
    r"|cannot (?:process|handle|accept|read)|can't (?:process|handle|accept|read)",
    re.IGNORECASE,
)
_TEXT_ONLY = re.compile(
    r"content[^.]{0,60}(?:must be|should be|expected|input should be)[^.]{0,20}\bstr(?:ing)?\b|is not a multimodal",
    re.IGNORECASE,
)
"""Words of an endpoint that takes no parts at all."""
_BAD_CONTENT = re.compile(
    r"\b(?:png|jpe?g|webp|gif|mime|wav|mp3|flac|ogg)\b|media[_ ]type|(?:image|audio|file) (?:format|type|size)"
    r"|too (?:large|big|many|long|small)|download|fetch|decode|corrupt|valid (?:image|audio|file|base64)|exceed"
    r"|at most [1-9]|is (?:in)?valid|make sure",
    re.IGNORECASE,
)
"""Words about one image and the like, which say nothing of others."""
MAX_READ = 2000
"""Characters of a refusal."""


def refused_capability(sent: Mapping[str, Any], status: int | None, said: str) -> Capability | None:
    """Return what an endpoint says it cannot do; None where its error is about something else."""
    said = said[:MAX_READ]
    if status in STATUSES and sent.get("tools") and _TOOLS.search(said) and _CANNOT.search(said):
        return "tools"
    return _refused_media(sent, said) if status in MEDIA_STATUSES else None


def _refused_media(sent: Mapping[str, Any], said: str) -> Capability | None:
    """Return the kind of content that an endpoint says it does not take."""
    messages = sent.get("messages")
    bodies = [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
    kinds = sorted(frozenset[Modality]().union(*map(media_kinds, bodies)))
    if not kinds or _BAD_CONTENT.search(said):
        return None
    if _CANNOT.search(said) or _CANNOT_TAKE.search(said):
        for kind in kinds:
            if kind != "text" and _MEDIA[kind].search(said):
                return kind
    return kinds[0] if kinds[0] != "text" and _TEXT_ONLY.search(said) else None
