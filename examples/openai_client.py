"""Any OpenAI client works:  routemoa serve &  python examples/openai_client.py http://127.0.0.1:8080/v1"""

import sys

from openai import OpenAI

if len(sys.argv) != 2:
    sys.exit(__doc__)
client = OpenAI(base_url=sys.argv[1], api_key="unused")
print([model.id for model in client.models.list()])
stream = client.chat.completions.create(
    model="routemoa", messages=[{"role": "user", "content": "Why is the sky blue?"}], stream=True
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
