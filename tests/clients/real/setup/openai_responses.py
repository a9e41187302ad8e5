from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="unused")
print(client.responses.create(model="routemoa", input="What is 6 times 7?").output_text)
