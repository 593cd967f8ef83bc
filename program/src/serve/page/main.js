// Joins the parts: buttons, keys, files and the camera on one side, the server on the other.

import { about } from "./about.js";
import { Camera, reason, square } from "./camera.js";
import { Gone, predict } from "./server.js";
import { Word } from "./word.js";
import * as view from "./view.js";

const at = (id) => document.getElementById(id);
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/// From the start of one question to the start of the next, in milliseconds.
const INTERVAL = 200;

/// Between two tries to reach a server that is gone, in milliseconds.
const RETRY = 2000;

const GONE = "The server does not answer. Start it again (signet serve) and this page goes on.";

const video = at("video");
const camera = new Camera(video, () => {
  stop();
  view.showState("The camera has gone. Plug it in and start it again, or choose a picture.", "problem");
});
const word = new Word();
let latest = null;

/// Whether the classes are letters, of which words are spelled.
let spells = true;

let invitation = "Hold your hand in the square.";

/// Counts up with every change of what is looked at: an answer about something older is dropped.
let turn = 0;

function stop() {
  turn += 1;
  camera.stop();
  show(null);
  view.showHold(0);
  view.showStage("nothing");
  view.showState("");
}

function show(prediction) {
  latest = prediction;
  view.showPrediction(prediction);
}

// Camera

async function startCamera() {
  stop();
  const mine = turn;
  view.showState("Waiting for the camera: the browser asks whether this page may use it.");
  try {
    await camera.start();
  } catch (error) {
    if (mine === turn) view.showState(reason(error), "problem");
    return;
  }
  // Meanwhile a picture was chosen.
  if (mine !== turn) return camera.stop();
  placeSquare();
  view.showStage("camera");
  view.showState(invitation);
  watch(mine);
}

function placeSquare() {
  const { videoWidth: width, videoHeight: height } = video;
  if (width) view.showSquare(width, height, square(width, height, at("left").checked));
}

async function watch(mine) {
  while (mine === turn) {
    const start = performance.now();
    const image = document.hidden ? null : await camera.photograph(at("left").checked);
    const wait = image && mine === turn ? await look(image, mine) : INTERVAL;
    await pause(wait - (performance.now() - start));
  }
}

/// Shows what the server says about the camera's picture. How long to wait from its start on.
async function look(image, mine) {
  try {
    const prediction = await predict(image);
    if (mine !== turn) return 0;
    show(prediction);
    if (spells) {
      const { part, added } = word.see(prediction, performance.now());
      view.showHold(part);
      if (added) wordChanged(`${prediction.class} added`);
    }
    view.showState(invitation);
    return INTERVAL;
  } catch (error) {
    if (mine !== turn) return 0;
    view.showState(error instanceof Gone ? GONE : error.message, "problem");
    return error.seconds ? 1000 * error.seconds : RETRY;
  }
}

at("camera").addEventListener("click", () => {
  if (at("stage").dataset.shows === "camera") stop();
  else startCamera();
});
at("left").addEventListener("change", placeSquare);
// A telephone that is turned has another picture.
video.addEventListener("resize", placeSquare);

// Pictures

async function read(file) {
  stop();
  const mine = turn;
  view.showPicture(file);
  view.showState(`Reading ${file.name}`);
  try {
    const prediction = await predict(file);
    if (mine !== turn) return;
    show(prediction);
    view.showState(file.name);
    view.announce(`${file.name}: ${prediction.class}, ${Math.round(100 * prediction.probability)} percent`);
  } catch (error) {
    if (mine !== turn) return;
    // The browser may not show it either.
    view.showStage("nothing");
    view.showState(error instanceof Gone ? GONE : `${file.name}: ${error.message}`, "problem");
  }
}

at("file").addEventListener("change", () => {
  const [file] = at("file").files;
  // The same file may be chosen again.
  if (file) read(file).then(() => (at("file").value = ""));
});

document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) read(file);
});

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  at("stage").classList.add("drop");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) at("stage").classList.remove("drop");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("stage").classList.remove("drop");
  const [file] = event.dataTransfer.files;
  if (file) read(file);
  else view.showState("That is no file. Drop a PNG, JPEG, WebP, GIF, BMP or TIFF picture.", "problem");
});

// The word

function wordChanged(news) {
  view.showWord(word.text);
  view.announce(word.text.trim() ? `${news}. Word: ${word.text}` : news);
}

const change = {
  add() {
    if (!latest) return view.announce("There is no letter yet");
    word.add(latest.class);
    wordChanged(`${latest.class} added`);
  },
  space() {
    word.space();
    wordChanged("Space added");
  },
  delete() {
    word.delete();
    wordChanged("Deleted");
  },
  clear() {
    word.clear();
    wordChanged("Cleared");
  },
};
for (const [name, act] of Object.entries(change)) at(name).addEventListener("click", act);

const KEYS = { Enter: change.add, " ": change.space, Backspace: change.delete };
document.addEventListener("keydown", (event) => {
  // A button or box that has the focus takes these keys itself.
  const taken = !spells || event.target.closest("button, input, a, summary") || event.ctrlKey || event.metaKey || event.altKey;
  if (taken || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});

const here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
at("privacy").textContent = here
  ? "Pictures go to the program that you started on this machine, and nowhere else."
  : `Pictures go to ${location.hostname}, and nowhere else.`;
view.showPrediction(null);
view.showWord("");
about().then((letters) => {
  spells = letters;
  if (!letters) invitation = "Hold it in the square.";
});
