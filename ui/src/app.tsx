// The frame of every page: navigation, the caller's key, light or dark.
import { useEffect, useRef } from "preact/hooks";

import { type About, AboutProvider } from "./data/about";
import { useData } from "./data/api";
import { PAGES } from "./pages";
import { hueOf } from "./parts/model-name";
import { FaultBoundary, Problem } from "./parts/problem";
import { SignIn, SignedIn } from "./parts/sign-in";
import { ThemeChoice } from "./parts/theme";
import { linkTo, type Route, useRoute } from "./route";
import { texts } from "./texts.en";

export function App() {
  const route = useRoute();
  const about = useData<About>("ui/api/about");
  about.data?.members.forEach(hueOf); // colours in the order of the pool, whatever page comes first
  const needsKey = about.error?.status === 401;
  return (
    <>
      <a class="skip" href="#main" onClick={skipToMain}>
        {texts.shell.skip}
      </a>
      <header class="shell">
        <span class="brand">RouteMoA</span>
        <Navigation route={route} />
        <div class="tools">
          {about.data && !needsKey && <SignedIn about={about.data} />}
          <ThemeChoice />
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {needsKey && <SignIn error={about.error} />}
        {about.error && !needsKey && <Problem error={about.error} retry={about.reload} />}
        {about.data && !needsKey && (
          <AboutProvider value={about.data}>
            <FaultBoundary key={route.page}>
              <CurrentPage route={route} />
            </FaultBoundary>
          </AboutProvider>
        )}
      </main>
    </>
  );
}

function Navigation({ route }: { route: Route }) {
  return (
    <nav aria-label={texts.shell.pages}>
      {PAGES.map(({ name }) => (
        <a key={name} href={linkTo(name)} aria-current={name === (route.page || PAGES[0]?.name) ? "page" : undefined}>
          {texts.pages[name]}
        </a>
      ))}
    </nav>
  );
}

function CurrentPage({ route }: { route: Route }) {
  const page = PAGES.find(({ name }) => name === route.page) ?? PAGES[0];
  const shown = useRef("");
  const title = page ? texts.pages[page.name] : "";
  useEffect(() => {
    document.title = `${title} · RouteMoA`;
    if (shown.current && shown.current !== title) document.getElementById("main")?.focus(); // readers hear the new page
    shown.current = title;
  }, [title]);
  return page ? <page.Page route={route} /> : null;
}

function skipToMain(event: Event): void {
  event.preventDefault(); // the part after "#" names the page
  document.getElementById("main")?.focus();
}
