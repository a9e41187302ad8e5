// Light, dark, or as the system has it.
import { useState } from "preact/hooks";

import { texts } from "../texts.en";

const STORED = "routemoa.theme";
const THEMES = ["system", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

function readTheme(): Theme {
  const stored = localStorage.getItem(STORED);
  return THEMES.find((theme) => theme === stored) ?? "system";
}

export function applyTheme(theme: Theme = readTheme()): void {
  document.documentElement.dataset["theme"] = theme;
}

export function ThemeChoice() {
  const [theme, setTheme] = useState(readTheme);
  const choose = (chosen: Theme): void => {
    localStorage.setItem(STORED, chosen);
    applyTheme(chosen);
    setTheme(chosen);
  };
  return (
    <label class="theme">
      <span class="unseen">{texts.shell.theme}</span>
      <select value={theme} onChange={(e) => choose(e.currentTarget.value as Theme)}>
        {THEMES.map((name) => (
          <option key={name} value={name}>
            {texts.shell.themes[name]}
          </option>
        ))}
      </select>
    </label>
  );
}
