// What the page shows. The only file that writes to it.

import { SURE } from "./word.js";

const at = (id) => document.getElementById(id);
const percent = (probability) => `${Math.round(100 * probability)} %`;

/// Rows of bars; empty ones keep the page from jumping. A prediction names five classes, where there are as
/// many.
let rows = 5;
const SIDE = 28;

/// `nothing`, `camera` or `picture`.
export function showStage(what) {
  at("stage").dataset.shows = what;
  if (what !== "camera") at("stage").style.removeProperty("--aspect");
  at("camera").textContent = what === "camera" ? "Stop camera" : "Start camera";
}

/// The camera's picture is `width` x `height`, with the square at `place` (see `square`).
export function showSquare(width, height, place) {
  const style = at("stage").style;
  style.setProperty("--aspect", `${width} / ${height}`);
  for (const name of ["left", "top", "width"]) style.setProperty(`--${name}`, `${100 * place[name]}%`);
}

export function showPicture(file) {
  const picture = at("picture");
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(file);
  picture.alt = `The picture ${file.name}`;
  showStage("picture");
}

/// As many rows of bars as `classes` need, before there is anything to show in them.
export function expectClasses(classes) {
  rows = Math.min(5, classes);
  showBars([]);
}

/// What is going on, in a sentence; `problem` where something is wrong.
export function showState(text, kind = "news") {
  // Writing the same text again would have it read out again.
  if (at("state").textContent !== text) at("state").textContent = text;
  at("state").dataset.kind = kind;
}

/// A prediction of the server, or null for none.
export function showPrediction(prediction) {
  const letter = at("letter");
  const { class: best = "–", probability = 0, top = [], seen } = prediction ?? {};
  letter.textContent = best;
  letter.toggleAttribute("data-long", best.length > 2);
  letter.dataset.sure = !prediction ? "none" : probability >= SURE ? "yes" : "no";
  at("certainty").textContent = !prediction
    ? "No picture yet"
    : probability >= SURE
      ? `${percent(probability)} sure`
      : `Not sure: ${percent(probability)} at best`;
  at("add").textContent = prediction ? `Add ${best}` : "Add letter";
  showBars(top);
  showSeen(seen);
}

function showBars(top) {
  const list = at("top");
  while (list.children.length < rows) list.append(row());
  while (list.children.length > rows) list.lastElementChild.remove();
  [...list.children].forEach((line, i) => {
    const { class: name = "", probability = 0 } = top[i] ?? {};
    line.querySelector(".name").textContent = name;
    line.querySelector(".bar > div").style.setProperty("--part", probability);
    line.querySelector(".percent").textContent = name && percent(probability);
  });
}

function row() {
  const part = (name, ...children) => {
    const element = document.createElement("div");
    element.className = name;
    element.append(...children);
    return element;
  };
  const line = document.createElement("li");
  line.append(part("name"), part("bar", part("")), part("percent"));
  return line;
}

/// `greys`: 784 values from 0 to 255, row by row.
function showSeen(greys) {
  const context = at("seen").getContext("2d");
  if (!greys) return context.clearRect(0, 0, SIDE, SIDE);
  const image = context.createImageData(SIDE, SIDE);
  greys.forEach((grey, i) => image.data.set([grey, grey, grey, 255], 4 * i));
  context.putImageData(image, 0, 0);
}

/// How much of the time a letter has been held, 0 to 1.
export function showHold(part) {
  at("hold").style.setProperty("--part", part);
}

export function showWord(text) {
  at("word").textContent = text;
}

/// Has a screen reader say something. Not every guess: only what was added or asked for.
export function announce(text) {
  at("announcer").textContent = text;
}
