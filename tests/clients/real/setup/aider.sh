export OPENAI_API_BASE=http://127.0.0.1:8080/v1
export OPENAI_API_KEY=unused
aider --model openai/routemoa --edit-format diff --message "Let answer() return 42." answer.py
