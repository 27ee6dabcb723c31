/* How a value looks. Whatever comes from the data becomes text, never markup. */

const LONG = 40; // letters of a text that gets a wide column
const MARKS = { matches: "=", differs: "≠", undetermined: "?" };
const AIMS = { higher: "↑", lower: "↓", retrain: "→" };
const AIM_WORDS = { higher: "higher is better", lower: "lower is better", retrain: "closest to Retrain is best" };

/** An element with attributes (false and undefined are left out) and children, strings becoming text. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

const isNumber = (text) => text !== "" && Number.isFinite(Number(text));
const typographic = (text) => text.replace(/^-/, Number(text) === 0 ? "" : "−");

/** A fraction in percent: tenths, but for large values. */
const percent = (fraction) => typographic((100 * fraction).toFixed(Math.abs(fraction) < 1.1 ? 1 : 0));

/** The same with its sign. */
const points = (fraction) => (Number((100 * fraction).toFixed(1)) > 0 ? "+" : "") + percent(fraction);

/** Another number: three digits, or as it is where it is whole. */
function plain(number) {
  if (Number.isInteger(number)) return typographic(String(number));
  return typographic(Math.abs(number) >= 100 ? number.toFixed(0) : String(Number(number.toPrecision(3))));
}

/** A value as words: by its column, in percent or not; text stays as it is. */
function spelled(text, isRate) {
  if (!isNumber(text)) return text;
  return isRate ? percent(Number(text)) : plain(Number(text));
}

/** How many of the levels a signed gap lies beyond, in the direction that is bad. */
function levelOf(gap, aim, levels) {
  const distance = aim === "retrain" ? Math.abs(gap) : Math.max(0, aim === "higher" ? -gap : gap);
  return levels.filter((level) => distance > level + 1e-9).length;
}

/** The small second line of a cell. */
const second = (text) => element("span", { class: "second" }, text);

/** One cell of the table. `value` gives what the row has in a column of the CSV, "" where there is nothing. */
function cellOf(shown, value, columns, levels) {
  const text = value(shown.column);
  const column = columns.get(shown.column);
  const kind = text === "" || isNumber(text) ? "number" : text.length > LONG ? "long" : "text";
  const cell = element("td", { class: kind });
  if (text === "") {
    cell.append(element("span", { class: "nothing" }, "–"));
  } else if (shown.raw && !column.rate) {
    cell.append(text);
  } else {
    cell.append(shown.gap === shown.column ? points(Number(text)) : spelled(text, column.rate));
    cell.append(...besides(shown, value, Number(text), column.rate));
  }
  const gap = shown.gap ? value(shown.gap) : "";
  if (gap !== "") {
    cell.classList.add("gap", `level${levelOf(Number(gap), column.aim, levels)}`);
    if (shown.gap !== shown.column) cell.append(second(points(Number(gap))));
  }
  cell.append(...below(shown, value, columns));
  return cell;
}

/** What stands behind a value: half of its interval, and the mark of its verdict. */
function besides(shown, value, number, isRate) {
  const found = [];
  const high = shown.high ? value(shown.high) : "";
  if (high !== "") {
    const half = Number(high) - number;
    found.push(element("span", { class: "interval" }, ` ± ${isRate ? percent(half) : plain(half)}`));
  }
  const verdict = shown.verdict ? value(shown.verdict) : "";
  if (verdict !== "") {
    const spoken = { class: "mark", title: verdict, role: "img", "aria-label": verdict };
    found.push(element("span", spoken, ` ${MARKS[verdict] ?? verdict}`));
  }
  return found;
}

/** What else is printed below a value. */
function below(shown, value, columns) {
  return (shown.below ?? [])
    .filter(([, name]) => value(name) !== "")
    .map(([words, name]) => second(words.replace("{}", () => spelled(value(name), columns.get(name).rate))));
}
