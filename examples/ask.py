"""Ask a mixture and see why it answered as it did:  python examples/ask.py pool.toml "Why is the sky blue?" """

import sys

from routemoa import RouteMoA

if len(sys.argv) != 3:
    sys.exit(__doc__)
pool_file, question = sys.argv[1:]
answer = RouteMoA(pool_file).ask(question)

print(answer.text)
print("stopped because", answer.trace.stop_reason)
print("calls:", answer.trace.calls, " dollars:", answer.trace.cost, " seconds:", answer.trace.latency)
for layer in answer.trace.layers:
    print("asked", layer.selected, "-> posterior", layer.scores)
