from langchain_openai import ChatOpenAI

model = ChatOpenAI(base_url="http://127.0.0.1:8080/v1", api_key="unused", model="routemoa")
print(model.invoke("What is 6 times 7?").content)
