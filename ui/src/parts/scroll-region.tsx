// A box that scrolls sideways: the keyboard reaches it, and it has a name.
import type { ComponentChildren } from "preact";

interface ScrollRegionProps {
  /** Its name, where no heading has it. */
  label?: string;
  /** The id of the heading that names it. */
  labelledBy?: string;
  /** Classes beside its own. */
  kind?: string;
  children: ComponentChildren;
}

export function ScrollRegion({ label, labelledBy, kind, children }: ScrollRegionProps) {
  return (
    <div
      class={kind ? `scroll ${kind}` : "scroll"}
      tabIndex={0}
      role="region"
      aria-label={label}
      aria-labelledby={labelledBy}
    >
      {children}
    </div>
  );
}
