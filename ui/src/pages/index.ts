// The pages, in the order of the navigation. The first one is shown at the bare address.
import type { ComponentType } from "preact";

import type { Route } from "../route";
import type { PageName } from "../texts.en";
import { Live } from "./live/live";
import { Money } from "./money/money";
import { Playground } from "./playground/playground";
import { Pool } from "./pool/pool";
import { Quality } from "./quality/quality";
import { Traces } from "./traces/traces";

export interface PageEntry {
  name: PageName;
  Page: ComponentType<{ route: Route }>;
}

export const PAGES: PageEntry[] = [
  { name: "playground", Page: Playground },
  { name: "live", Page: Live },
  { name: "traces", Page: Traces },
  { name: "quality", Page: Quality },
  { name: "money", Page: Money },
  { name: "pool", Page: Pool },
];
