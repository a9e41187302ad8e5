// Text to copy: shown on demand, since the clipboard is closed to pages that are not served from this machine.
import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { texts } from "../texts.en";

function closeOnEscape(event: JSX.TargetedKeyboardEvent<HTMLDetailsElement>): void {
  if (event.key !== "Escape") return;
  event.currentTarget.open = false;
  event.currentTarget.querySelector("summary")?.focus();
}

export function CodeBlock({ label, code }: { label: string; code: string }) {
  const [copied, setCopied] = useState(false);
  const copy = (): void => {
    void navigator.clipboard?.writeText(code).then(() => {
      setCopied(true);
      setTimeout(() => setCopied(false), 2000);
    });
  };
  return (
    <details class="code-block" name="code-block" onKeyDown={closeOnEscape}>
      <summary>{label}</summary>
      <div class="sheet wide">
        <pre tabIndex={0} aria-label={label}>
          {code}
        </pre>
        {"clipboard" in navigator && (
          <button type="button" onClick={copy} aria-live="polite">
            {copied ? texts.copy.copied : texts.copy.copy}
          </button>
        )}
      </div>
    </details>
  );
}
