import { render } from "preact";

import { App } from "./app";
import { applyTheme } from "./parts/theme";
import "./style/base.css";
import "./style/shell.css";
import "./style/parts.css";
import "./style/plots.css";
import "./style/quality.css";
import "./style/pool.css";
import "./style/playground.css";
import "./style/trace.css";
import "./style/traces.css";
import "./style/money.css";
import "./style/live.css";

applyTheme();
const root = document.getElementById("app");
if (root) render(<App />, root);
