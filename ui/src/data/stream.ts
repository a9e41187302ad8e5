// Server-sent events over fetch: EventSource can send neither a key nor a body.
import { ApiError, send } from "./api";

export interface ServerEvent {
  /** "message" where the event has no name. */
  name: string;
  data: string;
}

/** Yield the events of a response as they come. Throws ApiError. */
export async function* readEvents(path: string, init: RequestInit): AsyncGenerator<ServerEvent> {
  const response = await send(path, init);
  if (!response.body) throw new ApiError(0, "no body");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      buffer += value;
      const blocks = buffer.split(/\r?\n\r?\n/);
      buffer = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = parseBlock(block);
        if (event) yield event;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function parseBlock(block: string): ServerEvent | null {
  let name = "message";
  const data: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  return data.length ? { name, data: data.join("\n") } : null;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

/**
 * Follow a stream for as long as the page shows it: it is opened again after it breaks, later each time, and rests while
 * the tab is hidden. `onState` hears whether it is open.
 */
export function followEvents(
  path: string,
  onEvent: (event: ServerEvent) => void,
  onState: (state: "open" | "waiting" | "refused", error?: ApiError) => void,
): () => void {
  let abort = new AbortController();
  let ended = false;
  let wait = FIRST_WAIT_MS;
  const run = async (): Promise<void> => {
    while (!ended) {
      if (document.hidden) {
        await nextVisible();
        continue;
      }
      abort = new AbortController();
      try {
        for await (const event of readEvents(path, { signal: abort.signal })) {
          wait = FIRST_WAIT_MS;
          onState("open");
          onEvent(event);
        }
      } catch (error) {
        if (error instanceof ApiError && error.status >= 400 && error.status < 500) {
          onState("refused", error);
          return;
        }
      }
      if (ended) return;
      onState("waiting");
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    }
  };
  const onVisibility = (): void => {
    if (document.hidden) abort.abort();
  };
  document.addEventListener("visibilitychange", onVisibility);
  void run();
  return () => {
    ended = true;
    abort.abort();
    document.removeEventListener("visibilitychange", onVisibility);
  };
}

function nextVisible(): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
  });
}
