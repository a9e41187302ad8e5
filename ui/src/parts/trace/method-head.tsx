// The head of a table of methods: what each takes, and one column of the table's own.
import type { ComponentChildren } from "preact";

import { texts } from "../../texts.en";

export function MethodHead({ children }: { children: ComponentChildren }) {
  return (
    <thead>
      <tr>
        <th scope="col">{texts.trace.method}</th>
        <th scope="col" class="number">
          {texts.trace.calls}
        </th>
        <th scope="col" class="number">
          {texts.trace.seconds}
        </th>
        <th scope="col" class="number">
          {texts.trace.dollars}
        </th>
        {children}
      </tr>
    </thead>
  );
}
