// What ui/api/pool and the admin routes of the pool say.
export interface PoolMember {
  name: string;
  endpoint: string;
  model: string;
  /** The name of an environment variable, never a key. */
  api_key_env: string | null;
  /** Dollars per million tokens; null is unknown. */
  input_price: number | null;
  output_price: number | null;
  price: string | null;
  context: number | null;
  prior: number | null;
}

export interface PoolInfo {
  source: string;
  /** Without secrets; null where there is no file to edit. */
  text: string | null;
  digest: string | null;
  why?: string;
  editable?: boolean;
  members?: PoolMember[];
  absent?: { name: string; why: string }[];
  warnings?: string[];
}

export interface Check {
  ok: boolean;
  error: string | null;
  line: number | null;
  /** Lines of a unified diff; none where nothing changes. */
  diff: string[];
  warnings: string[];
  members?: string[];
}

export interface Probe {
  name: string;
  /** null: a member of the embedded runtime, which is not probed. */
  ok: boolean | null;
  latency?: number | null;
  problem?: string | null;
}

export interface Provider {
  name: string;
  title: string;
  url: string;
  local: boolean;
  /** Environment variables that may hold its key, and the one that does. */
  variables: string[];
  variable: string | null;
  key_page: string | null;
}

export interface ListedModel {
  id: string;
  input_price: number | null;
  output_price: number | null;
  context: number | null;
  family: string;
  score: number | null;
  score_of: string | null;
  presets: string[];
}

export interface ModelList {
  provider: string;
  title: string;
  models: ListedModel[];
  left_out: Record<string, number>;
}
