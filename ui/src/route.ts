// The part of the address after "#" names the page: "#/traces/abc?model=fast". The server knows one page only.
import { useEffect, useState } from "preact/hooks";

export interface Route {
  /** The page's name: the first segment, such as "traces". */
  page: string;
  /** What follows it, such as the id of a trace. */
  rest: string[];
  query: URLSearchParams;
}

export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [page = "", ...rest] = path.split("/").map(decode);
  return { page, rest, query: new URLSearchParams(query) };
}

/** Return a link to a page: linkTo("traces", ["abc"], { model: "fast" }). Empty values are left out. */
export function linkTo(page: string, rest: string[] = [], query: Record<string, string> = {}): string {
  const path = [page, ...rest].map(encodeURIComponent).join("/");
  const filled = Object.entries(query).filter(([, value]) => value !== "");
  return `#/${path}${filled.length ? `?${new URLSearchParams(filled)}` : ""}`;
}

export function goTo(link: string): void {
  window.location.hash = link;
}

export function useRoute(): Route {
  const [hash, setHash] = useState(window.location.hash);
  useEffect(() => {
    const follow = (): void => setHash(window.location.hash);
    window.addEventListener("hashchange", follow);
    return () => window.removeEventListener("hashchange", follow);
  }, []);
  return parseRoute(hash);
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
