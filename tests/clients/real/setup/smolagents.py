from smolagents import OpenAIModel

model = OpenAIModel("routemoa", api_base="http://127.0.0.1:8080/v1", api_key="unused")
print(model([{"role": "user", "content": [{"type": "text", "text": "What is 6 times 7?"}]}]).content)
