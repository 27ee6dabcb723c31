/* Tabs, links into them, the theme, and what a column means while it is pointed at. */

const tabs = [...document.querySelectorAll("[role=tab]")];
const boards = new Map();

function panelOf(tab) {
  return document.getElementById(tab.getAttribute("aria-controls"));
}

function select(tab) {
  for (const other of tabs) {
    const isChosen = other === tab;
    other.setAttribute("aria-selected", isChosen);
    other.tabIndex = isChosen ? 0 : -1;
    panelOf(other).hidden = !isChosen;
  }
  const panel = panelOf(tab);
  if (panel.classList.contains("leaderboard") && !boards.has(panel)) boards.set(panel, new Leaderboard(panel));
}

/** Arrow keys, Home and End move between tabs. */
function moveBetweenTabs(event) {
  const here = tabs.indexOf(event.target);
  const places = { ArrowRight: (here + 1) % tabs.length, ArrowLeft: here - 1, Home: 0, End: -1 };
  if (!(event.key in places)) return;
  event.preventDefault();
  const next = tabs.at(places[event.key]);
  next.focus();
  next.click();
}

/** What follows the # of the address; names need not be ASCII. */
function decodedHash() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

/** Show what the address names: a tab, a card within one, or the first tab. */
function follow() {
  const target = document.getElementById(decodedHash()) ?? panelOf(tabs[0]);
  const panel = target.closest("[role=tabpanel]");
  if (!panel) return;
  select(tabs.find((tab) => panelOf(tab) === panel));
  if (target === panel) return;
  target.open = true;
  target.querySelector("summary")?.focus({ preventScroll: true });
  target.scrollIntoView();
}

function startTabs() {
  for (const tab of tabs) {
    tab.addEventListener("keydown", moveBetweenTabs);
    tab.addEventListener("click", () => {
      select(tab);
      history.replaceState(null, "", `#${panelOf(tab).id}`);
    });
  }
  window.addEventListener("hashchange", follow);
  select(tabs[0]);
  follow();
}

/** Storage may be refused to a file from the disk; the choice then lasts as long as the page. */
function remembered(value) {
  try {
    if (value) localStorage.setItem("theme", value);
    return localStorage.getItem("theme");
  } catch {
    return null;
  }
}

function startTheme() {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = remembered();
  const show = () => {
    const isDark = chosen ? chosen === "dark" : system.matches;
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    button.setAttribute("aria-pressed", isDark);
  };
  button.addEventListener("click", () => {
    chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    remembered(chosen);
    show();
  });
  system.addEventListener("change", show);
  show();
}

/** What a column means, beside the header that is pointed at or has the focus. */
function startTooltip() {
  const tooltip = document.getElementById("tooltip");
  let header = null;
  const place = () => {
    if (!header) return;
    const { left, top, bottom } = header.getBoundingClientRect();
    const right = document.documentElement.clientWidth - tooltip.offsetWidth - 8;
    const isTooLow = bottom + tooltip.offsetHeight > innerHeight;
    tooltip.style.left = `${Math.max(8, Math.min(left, right))}px`;
    tooltip.style.top = `${isTooLow ? top - tooltip.offsetHeight : bottom}px`;
  };
  const show = (target) => {
    header = target?.closest("th button[aria-describedby]");
    tooltip.hidden = !header;
    if (header) tooltip.textContent = document.getElementById(header.getAttribute("aria-describedby")).textContent;
    place();
  };
  document.addEventListener("pointerover", (event) => {
    if (event.pointerType === "mouse" && event.target !== tooltip) show(event.target);
  });
  document.addEventListener("focusin", (event) => event.target.matches(":focus-visible") && show(event.target));
  document.addEventListener("focusout", () => show(null));
  document.addEventListener("keydown", (event) => event.key === "Escape" && show(null));
  document.addEventListener("scroll", place, { capture: true, passive: true });
}

document.documentElement.classList.add("scripting");
startTheme();
startTooltip();
startTabs();
