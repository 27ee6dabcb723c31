/* The rows of a CSV, and questions about them. */

const COLLATOR = new Intl.Collator("en", { numeric: true });

class Rows {
  /** @param view which columns name a row and its group: `name`, `group`. */
  constructor(csv, view) {
    const [names, ...rows] = parseCsv(csv);
    this.view = view;
    this.all = rows;
    this.places = new Map(names.map((name, place) => [name, place]));
    this.groups = this.grouped(rows);
  }

  has(name) {
    return this.places.has(name);
  }

  /** The text in a column, "" where there is none. */
  value(row, name) {
    return row[this.places.get(name)] ?? "";
  }

  /** Several columns in one text. */
  joined(row, names) {
    return names.map((name) => this.value(row, name)).join(" · ");
  }

  /** All values of several columns together, in order. */
  distinct(names) {
    return [...new Set(this.all.map((row) => this.joined(row, names)))].sort(COLLATOR.compare);
  }

  /** The rows whose name contains a text, and whose columns have the chosen values: [columns, value], .... */
  matching(text, choices) {
    const wanted = text.trim().toLowerCase();
    return this.all.filter(
      (row) =>
        this.value(row, this.view.name).toLowerCase().includes(wanted) &&
        choices.every(([names, value]) => this.joined(row, names) === value),
    );
  }

  /** Rows by a column, or by how far they are from the target; those without a value come last in either direction. */
  sorted(rows, { column, direction, distance }) {
    const sign = direction === "ascending" ? 1 : -1;
    const textOf = (row) => (distance ? this.value(row, distance).replace(/^-/, "") : this.value(row, column));
    const valued = rows.map((row) => ({ row, text: textOf(row) }));
    const areNumbers = valued.every(({ text }) => text === "" || isNumber(text));
    const compare = areNumbers ? (one, other) => Number(one) - Number(other) : COLLATOR.compare;
    valued.sort((one, other) => (one.text === "") - (other.text === "") || sign * compare(one.text, other.text));
    return valued.map(({ row }) => row);
  }

  /** Rows that compete stand together: key of the group -> its rows, in the order of the CSV. */
  grouped(rows) {
    const groups = new Map();
    for (const row of rows) {
      const key = this.joined(row, this.view.group);
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(row);
    }
    return groups;
  }

  /** The row of a group with most blocks, a ranked one if there is any, of those that have a value in one of these columns. */
  fullest(key, names) {
    const known = this.groups.get(key).filter((row) => names.some((name) => this.value(row, name) !== ""));
    return known.reduce((best, row) => (best && this.weight(best) >= this.weight(row) ? best : row), null);
  }

  /** Its blocks; those of a ranked row count above all others. */
  weight(row) {
    return Number(this.value(row, "blocks")) + (this.value(row, "standing") === "ranked" ? 1e6 : 0);
  }
}
