pip install llm ./plugins/llm-routemoa
export ROUTEMOA_BASE_URL=http://127.0.0.1:8080/v1
export ROUTEMOA_API_KEY=unused
llm -m routemoa "What is 6 times 7?"
