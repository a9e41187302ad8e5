from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url="http://127.0.0.1:8080/v1", api_key="unused")
print(Agent(OpenAIChatModel("routemoa", provider=provider)).run_sync("What is 6 times 7?").output)
