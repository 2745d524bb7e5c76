// What makes the page interactive. Without it every drawing, table and link still works;
// only the choices, the pictures on hover and the sorting of tables are gone.
"use strict";

const run = JSON.parse(document.getElementById("data").textContent);
const columns = new Map(run.columns.map((column) => [column.key, column]));
const chosen = {}; // slot of a select -> key of the column that its drawings show
const round = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const tiny = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "scientific" });

function written(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-4 || size >= 1e7) ? tiny.format(value).replace("E", "e") : round.format(value);
  return text.replaceAll("-", "−");
}

// Colours, as draw/colour.py and draw/palette.py give them.

function blend(anchors, fraction) {
  const place = Math.min(Math.max(fraction, 0), 1) * (anchors.length - 1);
  const left = Math.min(Math.floor(place), anchors.length - 2);
  const part = (colour, i) => parseInt(colour.slice(1 + 2 * i, 3 + 2 * i), 16);
  const mixed = [0, 1, 2].map((i) => {
    const [a, b] = [part(anchors[left], i), part(anchors[left + 1], i)];
    return Math.round(a + (b - a) * (place - left)).toString(16).padStart(2, "0");
  });
  return "#" + mixed.join("");
}

function look(column, i) { // [colour, is ring] of a well
  const value = column.values[i];
  if (value === null) return [run.other, false];
  if (column.levels) return run.looks[value] ?? [run.other, false];
  const span = column.high - column.low;
  return [blend(column.anchors, span > 0 ? (value - column.low) / span : 0.5), false];
}

function inkOn(colour) {
  const linear = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16) / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 ? "#000" : "#fff";
}

// Heat maps: another column in every map of a slot.

function showOnMaps(slot, key) {
  const column = columns.get(key);
  chosen[slot] = key;
  for (const title of document.querySelectorAll(`[data-title="${slot}"]`)) title.textContent = column.label;
  for (const map of document.querySelectorAll(`svg[data-slot="${slot}"]`)) {
    for (const well of map.querySelectorAll(".well")) {
      const value = column.values[well.dataset.i];
      const colour = value === null ? null : look(column, well.dataset.i)[0];
      well.classList.toggle("void", colour === null);
      colour === null ? well.removeAttribute("fill") : well.setAttribute("fill", colour);
      const sign = well.nextElementSibling;
      if (sign?.classList.contains("sign") && colour) sign.setAttribute("fill", inkOn(colour));
    }
    const strips = [...map.querySelectorAll(".scale rect")];
    strips.forEach((strip, i) => strip.setAttribute("fill", blend(column.anchors, i / (strips.length - 1))));
    const ends = [column.low, (column.low + column.high) / 2, column.high];
    [...map.querySelectorAll(".scale .end")].forEach((text, i) => (text.textContent = written(ends[i])));
    const plate = run.plates[run.wells.plate[map.querySelector(".well").dataset.i]];
    map.setAttribute("aria-label", `Plate heat map of ${column.label}, plate ${plate}.`);
  }
}

// The map of phenotypes, coloured by any column.

function showOnUmap(slot, key) {
  const column = columns.get(key);
  chosen[slot] = key;
  const figure = document.querySelector("figure.umap");
  for (const mark of figure.querySelectorAll(".scatter .mark")) {
    const [colour, isRing] = look(column, mark.dataset.i);
    mark.setAttribute("color", colour);
    mark.setAttribute("class", isRing ? "mark ring" : "mark");
  }
  figure.querySelector(".legend").replaceChildren(...legendOf(column));
}

function legendOf(column) {
  const item = (...parts) => {
    const entry = document.createElement("li");
    entry.append(...parts);
    return entry;
  };
  if (!column.levels) {
    const bar = document.createElement("span");
    bar.className = "gradient";
    bar.style.background = `linear-gradient(90deg,${column.anchors.join(",")})`;
    return [item(written(column.low), " ", bar, " ", written(column.high))];
  }
  const named = column.levels.slice(0, run.looks.length);
  const rest = column.levels.length - named.length;
  const words = [...(rest > 0 ? [`${rest} others`] : []), ...(column.values.includes(null) ? ["none"] : [])];
  const entries = named.map((name, i) => {
    const entry = item(swatch(...run.looks[i]), name);
    entry.addEventListener("pointerenter", () => fadeAllBut(column, i));
    entry.addEventListener("pointerleave", () => fadeAllBut(column, null));
    return entry;
  });
  return words.length ? [...entries, item(swatch(run.other, false), words.join(" and "))] : entries;
}

function swatch(colour, isRing) {
  const drawing = document.querySelector(".legend .swatch")?.cloneNode(true) ?? swatch.template.cloneNode(true);
  swatch.template = drawing.cloneNode(true);
  drawing.firstElementChild.setAttribute("color", colour);
  drawing.firstElementChild.setAttribute("class", isRing ? "mark ring" : "mark");
  return drawing;
}

function fadeAllBut(column, level) {
  for (const mark of document.querySelectorAll("figure.umap .scatter .mark")) {
    mark.classList.toggle("faded", level !== null && column.values[mark.dataset.i] !== level);
  }
}

// Tooltips: what a title says, and of a well its picture too.

const tip = document.getElementById("tip");

function place(name) { // row and column of "AB07", from 0
  const letters = name.match(/^[A-Z]+/)[0];
  const row = [...letters].reduce((sum, letter) => sum * 26 + letter.charCodeAt(0) - 64, 0) - 1;
  return [row, Number(name.slice(letters.length)) - 1];
}

function pictureOf(i) {
  const sheet = document.getElementById(`sheet-${run.wells.plate[i]}`);
  if (!sheet) return [];
  const tile = Number(sheet.dataset.tile);
  const [row, column] = place(run.wells.well[i]);
  const frame = document.createElement("span");
  frame.className = "picture";
  frame.style.width = frame.style.height = `${tile}px`;
  frame.style.zoom = Math.max(1, 112 / tile);
  const picture = document.createElement("img");
  picture.src = sheet.src;
  picture.alt = "";
  picture.style.transform = `translate(${-column * tile}px,${-row * tile}px)`;
  frame.append(picture);
  return [frame];
}

function wellWords(i, slot) {
  const { plate, well, treatment } = run.wells;
  const name = document.createElement("strong");
  name.textContent = `${run.plates[plate[i]]} ${well[i]}`;
  const column = columns.get(chosen[slot]);
  const value = column?.values[i];
  const shown = column && `${column.label}: ${column.levels ? column.levels[value] ?? "none" : written(value)}`;
  const lines = [treatment.levels[treatment.codes[i]], shown].filter(Boolean);
  return [name, ...lines.map((line) => Object.assign(document.createElement("span"), { textContent: line }))];
}

function tell(target) {
  const i = target.dataset.i;
  const note = target.dataset.note;
  const drawing = target.closest("svg");
  const slot = drawing.dataset.slot ?? (drawing.closest(".umap") ? "umap" : null);
  if (i === undefined) tip.replaceChildren(note);
  else if (slot) tip.replaceChildren(...pictureOf(i), ...wellWords(i, slot));
  else tip.replaceChildren(...pictureOf(i), note);
  tip.hidden = false;
}

function follow(event) {
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  const x = event.clientX + 16 + width > innerWidth ? event.clientX - 12 - width : event.clientX + 16;
  const y = Math.min(event.clientY + 14, innerHeight - height - 6);
  tip.style.transform = `translate(${Math.max(x, 4)}px,${Math.max(y, 4)}px)`;
}

function keepTitles() { // the browser's own tooltips would show a second time
  for (const title of document.querySelectorAll("main svg title")) {
    const owner = title.parentElement;
    owner.dataset.note = title.textContent;
    title.remove();
  }
}

addEventListener("pointerover", (event) => {
  const target = event.target.closest?.("svg [data-i], svg [data-note]");
  if (!target) return void (tip.hidden = true);
  tell(target);
  follow(event);
});
addEventListener("pointermove", (event) => tip.hidden || follow(event));
addEventListener("click", (event) => {
  const well = event.target.closest?.("svg [data-i]");
  if (!well || event.target.closest("a")) return;
  const { card } = run.wells;
  const id = card.levels[card.codes[well.dataset.i]];
  if (id) location.hash = id;
});

for (const select of document.querySelectorAll("select[data-choice]")) {
  const slot = select.dataset.choice;
  const show = slot === "umap" ? showOnUmap : showOnMaps;
  select.value = select.querySelector("[selected]").value; // a reload would keep another
  chosen[slot] = select.value;
  select.addEventListener("change", () => show(slot, select.value));
}
for (const controls of document.querySelectorAll(".controls")) controls.hidden = false;
if (chosen.umap) showOnUmap("umap", chosen.umap);
keepTitles();
addEventListener("beforeprint", () => document.querySelectorAll(".facts details").forEach((one) => (one.open = true)));

// Click a heading to sort its table; without JavaScript the rows stay in the order of rank.

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const key = (row, i) => {
    const cell = row.cells[i];
    if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
    return cell.classList.contains("number") ? "" : cell.textContent.trim();
  };
  const isBlank = (value) => value === "";
  const compare = (a, b) =>
    isBlank(a) || isBlank(b) ? isBlank(a) - isBlank(b)
      : typeof a === "number" && typeof b === "number" ? a - b
      : String(a).localeCompare(String(b), undefined, { numeric: true });
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.ariaSort === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a, i), key(b, i)];
        return isBlank(x) || isBlank(y) ? compare(x, y) : sign * compare(x, y);
      });
      body.append(...rows);
    });
  });
}

document.querySelectorAll("table.sortable").forEach(sortable);
