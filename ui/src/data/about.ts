// What the server is and what this caller may do: GET ui/api/about.
import { createContext } from "preact";
import { useContext } from "preact/hooks";

export interface About {
  version: string;
  /** Of this caller: without keys "open"; a tenant sees its own, the admin everything. */
  role: "open" | "tenant" | "admin";
  /** The tenant's name. */
  name: string | null;
  /** The methods that this caller may name, "routemoa" first. */
  methods: string[];
  /** The models of the pool that this caller may name. */
  members: string[];
  /** Of [mixture] in the pool file. */
  mixture: { fusion: string; prefer: string; target: number | null; top_k: number; open: string };
  /** Whether traces are kept, and with their texts. */
  traces: { keep: boolean; texts: boolean };
  has_ledger: boolean;
  has_admin_key: boolean;
}

const Context = createContext<About | null>(null);
export const AboutProvider = Context.Provider;

/** Return what the server is; pages are only shown once it is known. */
export function useAbout(): About {
  const about = useContext(Context);
  if (!about) throw new Error("no page is shown before the server is known");
  return about;
}
