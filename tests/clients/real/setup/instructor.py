import instructor
from openai import OpenAI

client = instructor.from_openai(OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="unused"))
question = [{"role": "user", "content": "What is 6 times 7?"}]
print(client.chat.completions.create(model="routemoa", messages=question, response_model=int))
