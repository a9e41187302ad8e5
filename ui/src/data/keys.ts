// The caller's keys: kept for this tab alone, and sent to no other server than the one that served the page.
const NAMES = { tenant: "routemoa.key", admin: "routemoa.admin-key" } as const;
export type KeyKind = keyof typeof NAMES;

const listeners = new Set<() => void>();

export function readKey(kind: KeyKind): string {
  return sessionStorage.getItem(NAMES[kind]) ?? "";
}

/** Keep a key for this tab; an empty one is forgotten. */
export function keepKey(kind: KeyKind, key: string): void {
  if (key) sessionStorage.setItem(NAMES[kind], key);
  else sessionStorage.removeItem(NAMES[kind]);
  for (const listener of listeners) listener();
}

export function forgetKeys(): void {
  keepKey("tenant", "");
  keepKey("admin", "");
}

export function onKeyChange(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
