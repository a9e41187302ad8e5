"""Replies in the text formats of clients that use no field of the API for them: DSPy's, aider's."""

from __future__ import annotations

import json
import re
from typing import Any

EDIT = ("return 41", "return 42")


def reply_in_format(model: str, text: str, place: dict[str, Any]) -> str | None:
    """Return the reply to a request in one of these formats; None where its text (JSON) shows none.

    The models differ in words and in numbers: such texts cannot be compared as calls and objects can, and the best
    model's is the answer.
    """
    if "[[ ## completed ## ]]" in text:
        return _reply_in_sections(model, text, place)
    new = "return 43" if model == "third" else EDIT[1]
    if "SEARCH/REPLACE" in text or "*SEARCH" in text:
        edit = f"<<<<<<< SEARCH\n    {EDIT[0]}\n=======\n    {new}\n>>>>>>> REPLACE"
        return f"This is the edit of {model}:\n\nanswer.py\n```python\n{edit}\n```\n"
    if "entire content" in text or "whole file" in text:
        return f"This is the file of {model}:\n\nanswer.py\n```\ndef answer():\n    {new}\n```\n"
    return None


def _reply_in_sections(model: str, text: str, place: dict[str, Any]) -> str:
    """Return DSPy's sections: those that its prompt asks to respond with, from the last such sentence on."""
    asked = text.rpartition("Respond with the corresponding output fields")[2].partition("completed")[0]
    names = re.findall(r"\[\[ ## (\w+) ## \]\]", asked)
    seen = text.rsplit("[[ ## trajectory ## ]]", 1)[-1] if "trajectory" in text else ""
    if "next_tool_name" in names:
        name, arguments = "temperature", '{"city": "Paris"}'
        if "70.7" in seen:
            name, arguments = "finish", "{}"
        elif "21.5" in seen:
            name, arguments = "to_fahrenheit", '{"celsius": 21.5}'
        values = {"next_thought": f"{model} goes on.", "next_tool_name": name, "next_tool_args": arguments}
    else:
        value = 41 if model == "first" else 42
        values = {
            "reasoning": f"{model} thinks.",
            "place": json.dumps(place),
            "answer": "It is 70.7 degrees Fahrenheit in Paris." if seen else f"The answer is {value}.",
            "color": "It is red.",
        }
    return "".join(f"[[ ## {n} ## ]]\n{values.get(n, 'x')}\n\n" for n in names) + "[[ ## completed ## ]]"
