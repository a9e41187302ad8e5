"""DSPy: signatures, its ReAct loop, typed outputs."""

import asyncio

import dspy
import litellm
from dspy.utils.exceptions import LMError
from harness import Target

ERRORS = {
    "401": (litellm.AuthenticationError, LMError),
    "400": (litellm.BadRequestError, LMError),
    "timeout": (litellm.Timeout, LMError),
}


def connect(t: Target, timeout: float = 30.0, **options) -> dspy.LM:
    options = {"cache": False, "num_retries": 0, "max_retries": 0, "timeout": timeout, **options}
    return dspy.LM(f"openai/{t.model}", api_base=t.base_url, api_key=t.key, **options)


def ask(t, prompt, image=None, timeout=30.0, temperature=None):
    options = {} if temperature is None else {"temperature": temperature}
    with dspy.context(lm=connect(t, timeout, **options)):
        if image:
            return dspy.Predict("question, image: dspy.Image -> color")(question=prompt, image=dspy.Image(image)).color
        return dspy.Predict("question -> answer")(question=prompt).answer


def stream(t, prompt):
    program = dspy.streamify(
        dspy.Predict("question -> answer"),
        stream_listeners=[dspy.streaming.StreamListener(signature_field_name="answer")],
    )

    async def collect():
        """Collect the pieces. Where an answer comes in one piece, DSPy's listener gives none, only the prediction."""
        pieces = []
        async for piece in program(question=prompt):
            if isinstance(piece, dspy.streaming.StreamResponse):
                pieces.append(piece.chunk)
            elif isinstance(piece, dspy.Prediction) and not pieces:
                pieces.append(piece.answer)
        return pieces

    with dspy.context(lm=connect(t)):
        return asyncio.run(collect())


def run_tools(t, prompt, functions):
    with dspy.context(lm=connect(t)):
        return dspy.ReAct("question -> answer", tools=functions, max_iters=4)(question=prompt).answer


def extract(t, prompt, form):
    class Find(dspy.Signature):
        question: str = dspy.InputField()
        place: form = dspy.OutputField()

    with dspy.context(lm=connect(t)):
        by_sections = dspy.Predict(Find)(question=prompt).place
    with dspy.context(lm=connect(t), adapter=dspy.JSONAdapter()):
        by_json = dspy.Predict(Find)(question=prompt).place
    assert by_sections == by_json, (by_sections, by_json)
    return by_json
