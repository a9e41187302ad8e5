from agents import Agent, OpenAIChatCompletionsModel, Runner, set_tracing_disabled
from openai import AsyncOpenAI

set_tracing_disabled(True)
client = AsyncOpenAI(base_url="http://127.0.0.1:8080/v1", api_key="unused")
agent = Agent("assistant", model=OpenAIChatCompletionsModel("routemoa", client))
print(Runner.run_sync(agent, "What is 6 times 7?").final_output)
