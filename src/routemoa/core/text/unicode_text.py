"""Makes whole text of what files, terminals and endpoints give: other encodings, and halves of characters. Pure."""

from __future__ import annotations

from routemoa.core.files.file_kind import detect_encoding

__all__ = ["HalfJoiner", "decode_text", "mend_halves"]


def mend_halves(text: str) -> str:
    """Return a text without lone surrogates: two halves of a character become one, half a character becomes U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


class HalfJoiner:
    """Mends a text that comes in pieces: some endpoints cut an emoji in two."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, piece: str) -> str:
        """Return what is whole by now."""
        text, self._half = self._half + piece, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return mend_halves(text)

    def end(self) -> str:
        """Return what is left at the end of the text."""
        half, self._half = self._half, ""
        return mend_halves(half)


def decode_text(data: bytes) -> str:
    """Return the text of bytes: UTF-8, UTF-16 or UTF-32 where their mark or zero bytes say so, else Windows-1252."""
    for encoding in (detect_encoding(data[:4096]), "utf-8"):
        if encoding is not None:
            try:
                return mend_halves(data.decode(encoding))
            except UnicodeDecodeError:
                pass
    return data.decode("cp1252", "replace")
