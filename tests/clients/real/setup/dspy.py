import dspy

model = dspy.LM("openai/routemoa", api_base="http://127.0.0.1:8080/v1", api_key="unused")
dspy.configure(lm=model)
print(dspy.Predict("question -> answer")(question="What is 6 times 7?").answer)
