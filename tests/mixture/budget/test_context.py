"""Whether a prompt fits into a declared context: surely, surely not, or by an estimate."""

from __future__ import annotations

import pytest

from routemoa.core.types import Message, ModelSpec, Request
from routemoa.mixture.budget.context import ContextFit, context_fit, fit_texts, least_tokens

NEVER, DOUBTFUL, FITS = ContextFit.NEVER, ContextFit.DOUBTFUL, ContextFit.FITS


@pytest.mark.parametrize(
    ("text", "context", "answer", "fit"),
    [
        ("Hi.", None, None, FITS),
        ("Hi.", 2048, None, FITS),
        ("word " * 20000 + "Summarize.", 2048, None, NEVER),
        ("word " * 20000 + "Summarize.", 128000, None, FITS),
        ("word " * 6000, 4096, None, DOUBTFUL),  # some 6,000 tokens: most probably not
        ("word " * 2500, 4096, None, FITS),  # by the estimate, not by the bytes
        ("word " * 2500, 4096, 4000, DOUBTFUL),  # with an answer of 4,000 tokens
        ("word " * 7000, 4096, None, NEVER),
        ("x = [i for i in range(10)]\n" * 300, 4096, None, FITS),
        ("你好世界" * 600, 4096, None, FITS),
        ("你好世界" * 1500, 4096, None, DOUBTFUL),
        ("你好世界" * 9000, 4096, None, NEVER),
        ("привет мир " * 300, 4096, None, FITS),
        (" " * 200_000, 4096, None, DOUBTFUL),  # a tokenizer may read a run as a few tokens
        ("-" * 200_000 + "\n" * 200_000, 4096, None, DOUBTFUL),
        ("internationalization " * 1200, 4096, None, DOUBTFUL),
        ("\ud800" * 10, 2048, None, FITS),
        ("", 64, None, FITS),
        ("Hi.", 1, None, NEVER),
    ],
)
def test_fits(text: str, context: int | None, answer: int | None, fit: ContextFit) -> None:
    assert fit_texts(context, [text], answer) is fit


def test_what_surely_fits_is_never_left_out_and_what_never_fits_has_more_tokens_than_the_context() -> None:
    for length in range(0, 40000, 997):
        text = ("lorem ipsum dolor sit amet " * 2000)[:length]
        fit = fit_texts(4096, [text])
        if len(text.encode()) + 32 + 64 <= 4096:
            assert fit is FITS
        if fit is NEVER:
            assert least_tokens([text]) + 64 > 4096


def test_the_members_system_text_and_the_answers_limit_count() -> None:
    request = Request((Message("user", "Hi."),), {"max_tokens": 9000})
    assert context_fit(ModelSpec("a", "http://x", context=8192), request) is DOUBTFUL
    assert context_fit(ModelSpec("a", "http://x", context=8192, parameters={"max_tokens": 50}), request) is FITS
    assert context_fit(ModelSpec("a", "http://x", context=2048, system="word " * 20000), request) is NEVER
