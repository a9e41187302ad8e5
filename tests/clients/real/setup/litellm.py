import litellm

server = {"api_base": "http://127.0.0.1:8080/v1", "api_key": "unused"}
question = [{"role": "user", "content": "What is 6 times 7?"}]
print(litellm.completion("openai/routemoa", question, **server).choices[0].message.content)
