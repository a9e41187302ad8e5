from anthropic import Anthropic

client = Anthropic(base_url="http://127.0.0.1:8080", api_key="unused")
question = [{"role": "user", "content": "What is 6 times 7?"}]
print(client.messages.create(model="routemoa", max_tokens=500, messages=question).content[0].text)
