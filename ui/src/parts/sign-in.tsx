// Asks for a key where the server wants one, and says whose key it is.
import { useState } from "preact/hooks";

import type { About } from "../data/about";
import type { ApiError } from "../data/api";
import { forgetKeys, keepKey, type KeyKind, readKey } from "../data/keys";
import { texts } from "../texts.en";

export function SignIn({ error }: { error: ApiError | null }) {
  const wrong = error !== null && (readKey("tenant") || readKey("admin")) !== "";
  return (
    <section class="sign-in">
      <h1>{texts.signIn.title}</h1>
      <p>{texts.signIn.why}</p>
      <KeyForm kind="tenant" label={texts.signIn.key} hint={texts.signIn.keyHint} />
      <KeyForm kind="admin" label={texts.signIn.adminKey} hint={texts.signIn.adminHint} />
      {wrong && (
        <p class="problem" role="alert">
          {texts.signIn.wrong}
        </p>
      )}
    </section>
  );
}

function KeyForm({ kind, label, hint }: { kind: KeyKind; label: string; hint: string }) {
  const [key, setKey] = useState("");
  const submit = (event: Event): void => {
    event.preventDefault();
    if (!key.trim()) return;
    forgetKeys();
    keepKey(kind, key.trim());
  };
  const id = `key-${kind}`;
  return (
    <form onSubmit={submit}>
      <label for={id}>{label}</label>
      <div class="row">
        <input
          id={id}
          type="password"
          autocomplete="off"
          spellcheck={false}
          value={key}
          aria-describedby={`${id}-hint`}
          onInput={(e) => setKey(e.currentTarget.value)}
        />
        <button type="submit">{texts.signIn.enter}</button>
      </div>
      <small id={`${id}-hint`}>{hint}</small>
    </form>
  );
}

/** Whose key this tab has, and a way to forget it or to add the other one. */
export function SignedIn({ about }: { about: About }) {
  if (about.role === "open") return null;
  return (
    <details class="signed-in">
      <summary>{about.role === "admin" ? texts.signIn.admin : about.name}</summary>
      <div class="sheet">
        {about.role === "admin" && !readKey("tenant") && <OtherKey kind="tenant" />}
        {about.role === "tenant" && about.has_admin_key && <OtherKey kind="admin" />}
        <button type="button" onClick={forgetKeys}>
          {texts.signIn.leave}
        </button>
      </div>
    </details>
  );
}

function OtherKey({ kind }: { kind: KeyKind }) {
  const [key, setKey] = useState("");
  const label = kind === "admin" ? texts.signIn.adminKey : texts.signIn.key;
  const submit = (event: Event): void => {
    event.preventDefault();
    if (key.trim()) keepKey(kind, key.trim());
  };
  return (
    <form onSubmit={submit}>
      <label>
        {label}
        <input
          type="password"
          autocomplete="off"
          value={key}
          onInput={(e) => setKey(e.currentTarget.value)}
        />
      </label>
      <button type="submit">{texts.signIn.enter}</button>
    </form>
  );
}
