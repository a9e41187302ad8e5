// Files that the browser saves: a link cannot send a key, so they are fetched first.
import { send } from "./api";

/** Fetch a route and let the browser save it under a name. Throws ApiError. */
export async function download(path: string, name: string): Promise<void> {
  const url = URL.createObjectURL(await (await send(path)).blob());
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
