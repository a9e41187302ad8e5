"""Parts of a message that are no text: images, audio and files. Pure data; their contents are never fetched or decoded.

{"type": "image_url", "image_url": {"url": "https://... or data:image/png;base64,..."}}
{"type": "input_audio", "input_audio": {"data": "(base64)", "format": "wav"}}
{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,..."}}
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, NoReturn

from routemoa.core.errors import QueryError

__all__ = [
    "KINDS",
    "MAX_MEDIA",
    "USUAL_SHARE",
    "Modality",
    "check_media_part",
    "count_media",
    "count_media_tokens",
    "media_kinds",
    "replace_media",
]

Modality = Literal["text", "image", "audio", "file"]
KINDS: dict[str, Modality] = {"image_url": "image", "input_audio": "audio", "file": "file"}
"""Type of a part -> what a member has to take."""
MAX_MEDIA = 100
"""Parts of a request that are no text."""
MAX_URL = 8192
"""Characters of a URL that names something elsewhere."""

IMAGE_TOKENS = 50_000
"""Of an image at most: gpt-4o-mini counts 2,833 and 5,667 for each of at most eight tiles, 48,169 in all (OpenAI,
"Images and vision", calculating costs); Qwen2.5-VL up to 16,384, others far less."""
LOW_IMAGE_TOKENS = 3_000
"""Of an image with `detail: "low"`, at most (the same page: 2,833)."""
FILE_TOKENS = 300_000
"""Of a file at most: 100 pages with up to 3,000 tokens each (Anthropic, "PDF support")."""
AUDIO_TOKENS_PER_SECOND = 32
"""At most (Google, "Audio understanding": 32; OpenAI's count 10)."""
AUDIO_BYTES_PER_SECOND = 1000
"""At least, after base64: 8 kbit/s, the lowest rate of speech codecs."""
MIN_AUDIO_TOKENS = 1_000
USUAL_SHARE = 0.03
"""Of these bounds, what such a part usually takes: an image 1,500 tokens, a file 9,000."""


def check_media_part(where: str, part: Mapping[str, Any]) -> bool:
    """Return whether a part of a message is an image, audio or a file; False for any other.

    Raises:
        QueryError: it is malformed; `param` names the place.
    """
    match part.get("type"):
        case "image_url":
            _check_image(f"{where}.image_url", part.get("image_url"))
        case "input_audio":
            _check_audio(f"{where}.input_audio", part.get("input_audio"))
        case "file":
            _check_file(f"{where}.file", part.get("file"))
        case _:
            return False
    return True


def media_kinds(body: Mapping[str, Any] | None) -> frozenset[Modality]:
    """Return what a member has to take, beside text, to be sent a message."""
    return frozenset(KINDS[part["type"]] for part in _media_parts(body))


def count_media(body: Mapping[str, Any] | None) -> int:
    """Return how many images, audio and files a message holds."""
    return sum(1 for _ in _media_parts(body))


def count_media_tokens(body: Mapping[str, Any] | None) -> int:
    """Return the tokens of a message's images, audio and files at most."""
    return sum(map(_most_tokens, _media_parts(body)))


def replace_media(body: Mapping[str, Any], kinds: Collection[str] | None = None) -> dict[str, Any]:
    """Return a message with a note in the place of each image and the like, of all `kinds` or of some."""
    parts = [
        {"type": "text", "text": f"[{'an' if _kind(p)[0] in 'ai' else 'a'} {_kind(p)} that is not shown here]"}
        if _is_media(p) and (kinds is None or _kind(p) in kinds)
        else p
        for p in body["content"]
    ]
    return {**body, "content": parts}


def _media_parts(body: Mapping[str, Any] | None) -> Iterator[Any]:
    content = None if body is None else body.get("content")
    return (part for part in content if _is_media(part)) if isinstance(content, list) else iter(())


def _is_media(part: Any) -> bool:
    kind = part.get("type") if isinstance(part, dict) else None
    return isinstance(kind, str) and kind in KINDS


def _kind(part: Mapping[str, Any]) -> Modality:
    return KINDS[part["type"]]


def _most_tokens(part: Mapping[str, Any]) -> int:
    described = part.get(part["type"])
    described = described if isinstance(described, dict) else {}
    if part["type"] == "image_url":
        return LOW_IMAGE_TOKENS if described.get("detail") == "low" else IMAGE_TOKENS
    if part["type"] == "file":
        return FILE_TOKENS
    data = described.get("data")
    seconds = (len(data) if isinstance(data, str) else 0) * 3 / 4 / AUDIO_BYTES_PER_SECOND
    return max(MIN_AUDIO_TOKENS, round(seconds * AUDIO_TOKENS_PER_SECOND))


def _check_image(where: str, image: Any) -> None:
    if not isinstance(image, dict):
        _refuse(where, "must be an object with url")
    _check_url(f"{where}.url", image.get("url"), "data:image/")
    if image.get("detail") not in (None, "auto", "low", "high", "original"):
        _refuse(f"{where}.detail", "must be auto, low, high or original")


def _check_audio(where: str, audio: Any) -> None:
    if not isinstance(audio, dict):
        _refuse(where, "must be an object with data and format")
    if not isinstance(audio.get("data"), str) or not audio["data"]:
        _refuse(f"{where}.data", "must be a text in base64")
    kind = audio.get("format")
    if not isinstance(kind, str) or not (0 < len(kind) <= 16 and kind.isalnum()):
        _refuse(f"{where}.format", 'must name a format, such as "wav" or "mp3"')


def _check_file(where: str, file: Any) -> None:
    if not isinstance(file, dict):
        _refuse(where, "must be an object with file_data or file_id")
    data, file_id = file.get("file_data"), file.get("file_id")
    if (data is None) == (file_id is None):
        _refuse(where, "must have either file_data or file_id")
    if not isinstance(data if file_id is None else file_id, str) or not (data or file_id):
        _refuse(f"{where}.{'file_data' if file_id is None else 'file_id'}", "must be a text")
    if file.get("filename") is not None and not isinstance(file["filename"], str):
        _refuse(f"{where}.filename", "must be a text")


def _check_url(where: str, url: Any, data: str) -> None:
    if not isinstance(url, str):
        _refuse(where, "must be a text")
    head = url[:32].lower()
    if not head.startswith(("http://", "https://", data)):
        _refuse(where, f"must begin with https://, http:// or {data}")
    if head.startswith("http") and len(url) > MAX_URL:
        _refuse(where, f"is longer than {MAX_URL} characters")


def _refuse(where: str, why: str) -> NoReturn:
    raise QueryError(f"'{where}' {why}", where)
