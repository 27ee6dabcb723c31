/* One leaderboard: what its reader has chosen, and how it is drawn. */

const MOST_CELLS = 1300; // drawn at once, so that a filter takes no longer than a blink
const FEWEST_ROWS = 25;

class Leaderboard {
  constructor(panel) {
    this.view = JSON.parse(panel.querySelector("script.definition").textContent);
    this.csv = JSON.parse(panel.querySelector("script.csv").textContent);
    this.rows = new Rows(this.csv, this.view);
    this.columns = new Map(this.view.columns.map((column) => [column.name, column]));
    this.form = panel.querySelector("form");
    this.table = panel.querySelector("table");
    this.status = panel.querySelector(".status");
    this.more = panel.querySelector("[name=more]");
    this.meanings = panel.querySelector(".meanings dl");
    this.sorting = null;
    this.offerFilters();
    this.listen();
    this.choose(true);
  }

  offerFilters() {
    this.view.filters.forEach(({ columns }, number) => {
      const options = this.rows.distinct(columns).map((value) => element("option", { value }, value || "–"));
      this.form.elements[`filter-${number}`].append(...options);
    });
  }

  listen() {
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", (event) => this.choose(event.target.name === "all"));
    this.form.elements.clear.addEventListener("click", () => {
      this.form.reset();
      this.sorting = null;
      this.choose(true);
    });
    this.form.elements.download.addEventListener("click", () => download(this.csv, this.view.file));
    this.more.addEventListener("click", () => this.draw(this.limit + this.portion));
  }

  /** Draw anew after a choice. */
  choose(areOtherColumns) {
    if (areOtherColumns) this.drawHead();
    this.draw(this.portion);
  }

  get isGrouped() {
    return this.form.elements.grouped.checked;
  }

  get portion() {
    return Math.max(FEWEST_ROWS, Math.floor(MOST_CELLS / this.shown.length));
  }

  /** The rows that pass all filters, by group, each in the chosen order. */
  get chosen() {
    const { elements } = this.form;
    const choices = this.view.filters
      .map(({ columns }, number) => [columns, elements[`filter-${number}`]])
      .filter(([, select]) => select.selectedIndex > 0)
      .map(([columns, select]) => [columns, select.value]);
    const rows = this.rows.matching(elements.search.value, choices);
    const groups = this.isGrouped ? this.rows.grouped(rows) : new Map([["", rows]]);
    if (this.sorting) groups.forEach((members, key) => groups.set(key, this.rows.sorted(members, this.sorting)));
    return groups;
  }

  /** First click: the best or the first on top; second: the other way; third: the leaderboard's own order. */
  sortBy(column) {
    const first = this.columns.get(column).aim === "higher" ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const now = this.sorting?.column === column ? this.sorting.direction : null;
    const distance = this.columns.get(column).aim === "retrain" && this.shown.find((each) => each.column === column).gap;
    this.sorting = now === other ? null : { column, direction: now === first ? other : first, distance };
    this.markSorting();
    this.draw(this.portion);
  }

  markSorting() {
    for (const head of this.table.querySelectorAll("thead th")) {
      const isSorted = this.sorting?.column === head.dataset.column;
      if (isSorted) head.setAttribute("aria-sort", this.sorting.direction);
      else head.removeAttribute("aria-sort");
    }
  }

  drawHead() {
    const view = this.view.shown.filter(({ column }) => this.rows.has(column));
    const known = new Set(view.map(({ column }) => column));
    const others = this.view.columns.filter(({ name }) => this.form.elements.all.checked && !known.has(name));
    this.shown = [...view, ...others.map(({ name }) => ({ title: name, column: name, raw: true }))];
    if (!this.shown.some(({ column }) => column === this.sorting?.column)) this.sorting = null;
    this.table.tHead?.remove();
    const heads = this.shown.map((shown, number) => this.headOf(shown, number));
    this.table.append(element("thead", {}, element("tr", {}, ...heads)));
    this.meanings.replaceChildren(...this.shown.flatMap((shown) => this.explain(shown)));
    this.markSorting();
  }

  headOf({ title, column, raw }, number) {
    const { aim } = this.columns.get(column);
    const id = `meaning-${this.view.key}-${number}`;
    const button = element("button", { type: "button", "aria-describedby": id }, title);
    if (aim) button.append(element("span", { class: "aim" }, `${AIMS[aim]} ${aim === "retrain" ? "Retrain" : aim}`));
    button.addEventListener("click", () => this.sortBy(column));
    const kind = column === this.view.name ? "name" : raw ? "raw" : undefined;
    const meaning = element("span", { id, hidden: true }, this.meaningOf(column));
    return element("th", { scope: "col", class: kind, "data-column": column }, button, meaning);
  }

  meaningOf(column) {
    const { meaning, aim } = this.columns.get(column);
    return `${[meaning.replace(/\.$/, ""), AIM_WORDS[aim]].filter(Boolean).join("; ")}.`;
  }

  /** The same for all columns, where there is neither mouse nor keyboard. */
  explain({ title, column }) {
    const name = element("code", {}, column);
    const term = element("dt", {}, ...(title === column ? [name] : [title, " ", name]));
    return [term, element("dd", {}, this.meaningOf(column))];
  }

  /** Draw the first rows of the chosen ones. */
  draw(limit) {
    this.limit = limit;
    const groups = this.chosen;
    const bodies = [];
    let left = limit;
    for (const [key, rows] of groups) {
      if (left <= 0) break;
      bodies.push(this.bodyOf(key, rows.slice(0, left)));
      left -= rows.length;
    }
    for (const body of [...this.table.tBodies]) body.remove();
    this.table.append(...bodies);
    this.say(groups, limit);
  }

  say(groups, limit) {
    const found = [...groups.values()].reduce((sum, rows) => sum + rows.length, 0);
    const where = this.isGrouped ? ` in ${groups.size} of ${this.rows.groups.size} groups` : "";
    const parts = [`${found} of ${this.rows.all.length} rows${where}`];
    const sorted = this.shown.find(({ column }) => column === this.sorting?.column);
    const within = this.isGrouped ? " within each" : "";
    if (sorted) parts.push(`sorted by ${this.sorting.distance ? "distance in " : ""}${sorted.title}, ${this.sorting.direction}${within}`);
    if (!this.isGrouped) parts.push("rows of different settings do not compete");
    if (found > limit) parts.push(`the first ${limit} are shown`);
    this.status.textContent = `${parts.join("; ")}.`;
    this.more.textContent = `Show ${Math.min(this.portion, found - limit)} more rows`;
    this.more.parentElement.hidden = found <= limit;
  }

  bodyOf(key, rows) {
    const body = element("tbody");
    if (this.isGrouped) {
      body.append(this.headingOf(rows[0]));
      for (const [title, prefix] of this.view.references) body.append(...this.referenceOf(key, title, prefix));
    }
    for (const row of rows) body.append(this.rowOf(row));
    return body;
  }

  headingOf(row) {
    const details = this.view.details
      .filter(([, name]) => this.rows.value(row, name) !== "")
      .map(([words, name]) => words.replace("{}", () => this.rows.value(row, name)));
    const text = element("div", {}, this.rows.joined(row, this.view.heading), " ", second(details.join(" · ")));
    return element("tr", { class: "heading" }, element("th", { scope: "rowgroup", colspan: this.shown.length }, text));
  }

  /** What the rows of a group are measured against: scores of the row with most blocks. */
  referenceOf(key, title, prefix) {
    const names = this.shown.map(({ column }) => `${prefix}_${column}`);
    const row = this.rows.fullest(key, names);
    if (!row) return [];
    const cells = this.shown.map(({ column }, number) => {
      if (column === this.view.name) return element("th", { scope: "row", class: "name" }, title);
      const text = this.rows.value(row, column === "blocks" ? column : names[number]);
      return element("td", { class: "number" }, spelled(text, this.columns.get(column).rate));
    });
    return [element("tr", { class: "reference" }, ...cells)];
  }

  rowOf(row) {
    const value = (name) => this.rows.value(row, name);
    const cells = this.shown.map((shown) =>
      shown.column === this.view.name ? this.nameOf(row, value) : cellOf(shown, value, this.columns, this.view.levels),
    );
    return element("tr", { class: value("standing") === "ranked" ? "ranked" : "unranked" }, ...cells);
  }

  /** The method with its preset, and with what tells rows apart that share both. */
  nameOf(row, value) {
    const name = value(this.view.name);
    const card = `card-${this.view.kind}-${name}`;
    const parts = name.split(/(?<=_)/).flatMap((part) => [part, element("wbr")]);
    const linked = document.getElementById(card) ? [element("a", { href: `#${card}` }, ...parts)] : parts;
    const preset = value("preset");
    const lines = [`${preset}, v${value("version")}${preset === "custom" ? `: ${value("hyperparameters")}` : ""}`];
    if (value("standing") === "incomplete") lines.push(value("statuses"), value("reasons"));
    if (!this.isGrouped) lines.push(this.rows.joined(row, this.view.heading));
    return element("th", { scope: "row", class: "name" }, ...linked, ...lines.map(second));
  }
}
