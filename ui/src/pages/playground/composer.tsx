// The form: the conversation, what answers it, and its limits.
import { useEffect, useRef } from "preact/hooks";

import { useAbout } from "../../data/about";
import { ApiError } from "../../data/api";
import { texts } from "../../texts.en";
import { CodeBlock } from "../../parts/code-block";
import { PreferSelect } from "../../parts/prefer-select";
import {
  buildRequest,
  type Column,
  type Draft,
  type DraftTurn,
  LIMITS,
  type Request,
  writeCurl,
  writePython,
  writeToml,
} from "./question";

const MAX_IMAGE_BYTES = 8 * 1024 * 1024;

interface Props {
  draft: Draft;
  onDraft: (draft: Draft) => void;
  running: boolean;
  onAsk: () => void;
  onStop: () => void;
  onFile: (file: File) => void;
  onProblem: (problem: ApiError) => void;
}

export function Composer({ draft, onDraft, running, onAsk, onStop, onFile, onProblem }: Props) {
  const words = texts.playground;
  const change = (part: Partial<Draft>): void => onDraft({ ...draft, ...part });
  const last = draft.turns.at(-1);
  const canAsk = last !== undefined && (last.text.trim() !== "" || last.images.length > 0);
  const submit = (event: Event): void => {
    event.preventDefault();
    if (!running && canAsk) onAsk();
  };
  const onKey = (event: KeyboardEvent): void => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
  };
  return (
    <form class="composer card" onSubmit={submit} onKeyDown={onKey} aria-label={words.form}>
      <Conversation draft={draft} onDraft={onDraft} onProblem={onProblem} />
      <Columns draft={draft} onColumns={(columns) => change({ columns })} />
      <details>
        <summary>{words.more}</summary>
        <div class="options">
          <label class="field wide">
            {words.system}
            <textarea rows={2} value={draft.system} onInput={(e) => change({ system: e.currentTarget.value })} />
          </label>
          {LIMITS.map((name) => (
            <label key={name} class="field">
              {words.limits[name]}
              <input
                type="number"
                min="0"
                step="any"
                value={draft.limits[name]}
                onInput={(e) => change({ limits: { ...draft.limits, [name]: e.currentTarget.value } })}
              />
            </label>
          ))}
          <label class="field wide">
            {words.tools}
            <textarea
              class="code"
              rows={3}
              spellcheck={false}
              value={draft.tools}
              onInput={(e) => change({ tools: e.currentTarget.value })}
            />
          </label>
          <label class="field wide">
            {words.schema}
            <textarea
              class="code"
              rows={3}
              spellcheck={false}
              value={draft.schema}
              onInput={(e) => change({ schema: e.currentTarget.value })}
            />
          </label>
        </div>
      </details>
      <div class="row">
        {running ? (
          <button type="button" class="main" onClick={onStop}>
            {words.stop}
          </button>
        ) : (
          <button type="submit" class="main" title={words.askHint} disabled={!canAsk}>
            {words.ask}
          </button>
        )}
        <Copies draft={draft} />
        <label class="file">
          {words.open}
          <input
            type="file"
            class="unseen"
            accept=".json,.jsonl,application/json"
            onChange={(e) => takeFiles(e.currentTarget, onFile)}
          />
        </label>
      </div>
    </form>
  );
}

function Conversation({ draft, onDraft, onProblem }: Pick<Props, "draft" | "onDraft" | "onProblem">) {
  const words = texts.playground;
  const last = useRef<HTMLTextAreaElement>(null);
  const count = draft.turns.length;
  useEffect(() => last.current?.focus({ preventScroll: true }), [count]);
  const set = (i: number, part: Partial<DraftTurn>): void =>
    onDraft({ ...draft, turns: draft.turns.map((turn, n) => (n === i ? { ...turn, ...part } : turn)) });
  const addImage = (i: number, file: File): void => {
    if (!file.type.startsWith("image/") || file.size > MAX_IMAGE_BYTES) {
      onProblem(new ApiError(0, words.noImage(file.name)));
      return;
    }
    void readDataUrl(file).then((url) => set(i, { images: [...(draft.turns[i]?.images ?? []), url] }));
  };
  return (
    <ol class="turns">
      {draft.turns.map((turn, i) => (
        <li key={i} class={turn.role}>
          <label class="field">
            {i === count - 1 && count === 1 ? words.question : words.roles[turn.role]}
            <textarea
              ref={i === count - 1 ? last : null}
              rows={i === count - 1 ? 3 : 2}
              value={turn.text}
              placeholder={i === 0 ? words.example : ""}
              dir="auto"
              onInput={(e) => set(i, { text: e.currentTarget.value })}
              onPaste={(e) => [...(e.clipboardData?.files ?? [])].forEach((file) => addImage(i, file))}
            />
          </label>
          <div class="row">
            {turn.images.map((url, n) => (
              <button
                key={n}
                type="button"
                class="picture"
                aria-label={words.removeImage(n + 1)}
                onClick={() => set(i, { images: turn.images.filter((_, k) => k !== n) })}
              >
                <img src={url} alt="" />
              </button>
            ))}
            {turn.role === "user" && (
              <label class="file">
                {words.image}
                <input
                  type="file"
                  class="unseen"
                  accept="image/*"
                  onChange={(e) => takeFiles(e.currentTarget, (file) => addImage(i, file))}
                />
              </label>
            )}
            {count > 1 && (
              <button
                type="button"
                class="plain"
                onClick={() => onDraft({ ...draft, turns: draft.turns.filter((_, k) => k !== i) })}
              >
                {words.removeTurn}
              </button>
            )}
          </div>
        </li>
      ))}
    </ol>
  );
}

function Columns({ draft, onColumns }: { draft: Draft; onColumns: (columns: Column[]) => void }) {
  const words = texts.playground;
  const [first] = draft.columns;
  const set = (i: number, part: Partial<Column>): void =>
    onColumns(draft.columns.map((column, n) => (n === i ? { ...column, ...part } : column)));
  const comparing = draft.columns.length > 1;
  return (
    <div class="row choices">
      {draft.columns.map((column, i) => (
        <ColumnChoice key={i} column={column} second={i > 0} onColumn={(part) => set(i, part)} />
      ))}
      <button
        type="button"
        aria-pressed={comparing}
        onClick={() => first && onColumns(comparing ? [first] : [first, otherThan(first)])}
      >
        {comparing ? words.compareNot : words.compare}
      </button>
    </div>
  );
}

function ColumnChoice(props: { column: Column; second: boolean; onColumn: (part: Partial<Column>) => void }) {
  const about = useAbout();
  const { column, second, onColumn } = props;
  const words = texts.playground;
  return (
    <>
      <label class="field">
        {second ? words.otherMethod : words.method}
        <select value={column.method} onChange={(e) => onColumn({ method: e.currentTarget.value })}>
          {about.methods.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </label>
      {column.method === "routemoa" && (
        <PreferSelect value={column.prefer} pool={about.mixture.prefer} onValue={(prefer) => onColumn({ prefer })} />
      )}
    </>
  );
}

/** Return what is worth comparing a column with: the best model alone, else the mixture. */
function otherThan(column: Column): Column {
  return { method: column.method === "best-single" ? "routemoa" : "best-single", prefer: "" };
}

function Copies({ draft }: { draft: Draft }) {
  const about = useAbout();
  const [column] = draft.columns;
  let request: Request;
  try {
    request = buildRequest(draft, column ?? { method: "routemoa", prefer: "" });
  } catch {
    return null;
  }
  const origin = new URL(".", window.location.href).href.replace(/\/$/, "");
  const needsKey = about.role !== "open";
  return (
    <>
      <CodeBlock label={texts.copy.curl} code={writeCurl(request, origin, needsKey)} />
      <CodeBlock label={texts.copy.python} code={writePython(request, origin, needsKey)} />
      <CodeBlock label={texts.copy.toml} code={writeToml(request)} />
    </>
  );
}

function takeFiles(input: HTMLInputElement, take: (file: File) => void): void {
  for (const file of input.files ?? []) take(file);
  input.value = ""; // the same file may be chosen again
}

function readDataUrl(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error ?? new Error("unreadable"));
    reader.readAsDataURL(file);
  });
}
