from llama_index.llms.openai_like import OpenAILike

model = OpenAILike("routemoa", api_base="http://127.0.0.1:8080/v1", api_key="unused", is_chat_model=True)
print(model.complete("What is 6 times 7?"))
