// A server, a browser and hands for the tests of the page.
//
// Environment: SIGNET, the program; MODEL, a model that reads synthetic hands; OUT, a folder for
// pictures and screenshots, in which modules/ has what package.json names; CHROMIUM, the browser.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const { SIGNET, MODEL, OUT, CHROMIUM } = process.env;
const require = createRequire(join(OUT, "modules", "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/// The user lets the page use the camera, and it shows the file `video`.
export const fakeCamera = (video) => [
  "--use-fake-ui-for-media-stream",
  "--use-fake-device-for-media-stream",
  `--use-file-for-fake-video-capture=${video}`,
];

/// A camera that the browser's own policy keeps from the page.
export const DENIED = ["--use-fake-device-for-media-stream", "--deny-permission-prompts"];

export async function launch(flags = []) {
  return chromium.launch({ executablePath: CHROMIUM, headless: true, args: [...FLAGS, ...flags] });
}

/// `signet serve` on a port, 0 for any.
export async function serve(port = 0) {
  const child = spawn(SIGNET, ["serve", MODEL, "--port", `${port}`, "--device", "cpu"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [url] = await once(createInterface({ input: child.stdout }), "line");
  const stop = async () => {
    if (child.exitCode !== null) return;
    child.kill("SIGTERM");
    await once(child, "exit");
  };
  return { url, port: new URL(url).port, stop };
}

/// What `signet predict --json` says about a file.
export function predict(file) {
  return JSON.parse(execFileSync(SIGNET, ["predict", MODEL, file, "--json", "--device", "cpu"], { encoding: "utf8" }));
}

/// A page of `width` x `height`, and all that goes wrong on it.
export async function open(browser, url, { width = 1280, height = 800, colorScheme = "light", ...more } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, ...more });
  const page = await context.newPage();
  const troubles = [];
  page.on("pageerror", (error) => troubles.push(`${error}`));
  // A refused picture is a line there too, and no trouble.
  const refused = (line) => line.location().url.includes("/predict");
  page.on("console", (line) => line.type() === "error" && !refused(line) && troubles.push(line.text()));
  page.on("request", (request) => {
    const from = new URL(request.url());
    if (from.protocol !== "blob:" && from.origin !== new URL(url).origin) troubles.push(`asked ${from}`);
  });
  await page.goto(url);
  return { page, troubles };
}

/// What axe-core finds on the page, in words.
export async function violations(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" | ")}`);
}

/// By how many pixels the page is wider than the window, and what is cut off inside of it.
export function overflow(page) {
  return page.evaluate(() => {
    const root = document.documentElement;
    const wide = [...document.querySelectorAll("main *:not(.hidden):not(.guide), header *, footer *")].filter(
      (element) => element.getBoundingClientRect().right > root.clientWidth + 0.5,
    );
    return { page: root.scrollWidth - root.clientWidth, wide: wide.map((element) => element.outerHTML.slice(0, 80)) };
  });
}

export async function screenshot(page, name) {
  await page.screenshot({ path: join(OUT, `${name}.png`), fullPage: true });
}

/// Drops a file on the page, as a file manager does.
export async function drop(page, path, name, type) {
  const bytes = readFileSync(path).toString("base64");
  const data = await page.evaluateHandle(
    async ([bytes, name, type]) => {
      const data = new DataTransfer();
      const binary = Uint8Array.from(atob(bytes), (byte) => byte.charCodeAt(0));
      data.items.add(new File([binary], name, { type }));
      return data;
    },
    [bytes, name, type],
  );
  await page.dispatchEvent("#stage", "dragover", { dataTransfer: data });
  await page.dispatchEvent("#stage", "drop", { dataTransfer: data });
}

/// Two synthetic hands of different letters that the model is sure of, as PNG files of 336x336, and
/// a video of them: `{ hands: [{ path, letter, probability }], video }`.
///
/// In the video they are where the page's square is: at the left, since its preview is mirrored. One
/// after the other is shown for four seconds, with nothing for one in between.
export async function makeHands(browser) {
  const sheet = join(OUT, "sheet.png");
  execFileSync(SIGNET, ["data", "show", "--data", "synthetic", "--count", "32", "--out", sheet]);
  const page = await browser.newPage();
  const cells = await page.evaluate(cutOut, readFileSync(sheet).toString("base64"));
  const hands = [];
  for (const [number, cell] of cells.entries()) {
    const path = join(OUT, `hand-${number}.png`);
    writeFileSync(path, Buffer.from(cell, "base64"));
    const { letter, probability } = predict(path);
    if (probability > 0.95 && hands.every((hand) => hand.letter !== letter)) hands.push({ path, letter, probability, cell });
    if (hands.length === 2) break;
  }
  if (hands.length < 2) throw new Error(`${MODEL} is not sure of two synthetic hands: train it for longer`);
  const frames = await page.evaluate(scenes, hands.map((hand) => hand.cell));
  await page.close();
  const [first, second, empty] = frames.map((frame) => Buffer.from(frame, "base64"));
  const seconds = [first, first, first, first, empty, second, second, second, second, empty];
  const video = join(OUT, "hands.y4m");
  const parts = [Buffer.from("YUV4MPEG2 W640 H480 F5:1 Ip A1:1 C420jpeg\n")];
  for (const frame of seconds) for (let i = 0; i < 5; i++) parts.push(Buffer.from("FRAME\n"), frame);
  writeFileSync(video, Buffer.concat(parts));
  return { hands, video };
}

/// In the browser: the images of a contact sheet, enlarged without steps, as PNG files in base64.
async function cutOut(sheet) {
  // As program/src/cli/contact_sheet.rs lays it out.
  const [side, gap, across, down] = [112, 12, 124, 146];
  const image = new Image();
  image.src = `data:image/png;base64,${sheet}`;
  await image.decode();
  const small = new OffscreenCanvas(28, 28).getContext("2d");
  const large = document.createElement("canvas");
  large.width = large.height = 336;
  const context = large.getContext("2d");
  context.imageSmoothingQuality = "high";
  const cells = [];
  for (let top = gap; top + side <= image.height; top += down) {
    for (let left = gap; left + side <= image.width; left += across) {
      small.imageSmoothingEnabled = false;
      small.drawImage(image, left, top, side, side, 0, 0, 28, 28);
      context.drawImage(small.canvas, 0, 0, 336, 336);
      cells.push(large.toDataURL("image/png").split(",")[1]);
    }
  }
  return cells;
}

/// In the browser: each hand in a scene of 640x480, and the empty scene, as planar YUV 4:2:0 in base64.
async function scenes(hands) {
  const canvas = new OffscreenCanvas(640, 480);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const frames = [];
  for (const hand of [...hands, null]) {
    context.fillStyle = "rgb(150 150 150)";
    context.fillRect(0, 0, 640, 480);
    if (hand) {
      const image = new Image();
      image.src = `data:image/png;base64,${hand}`;
      await image.decode();
      context.drawImage(image, 26, 67, 346, 346);
      // The wall behind the hand goes on.
      const [r, g, b] = context.getImageData(30, 71, 1, 1).data;
      context.fillStyle = `rgb(${r} ${g} ${b})`;
      context.fillRect(0, 0, 640, 67);
      context.fillRect(0, 413, 640, 67);
      context.fillRect(0, 0, 26, 480);
      context.fillRect(372, 0, 268, 480);
    }
    const { data } = context.getImageData(0, 0, 640, 480);
    // All is grey: luma as it is, and no chroma.
    const yuv = new Uint8Array(640 * 480 * 1.5).fill(128);
    for (let i = 0; i < 640 * 480; i++) yuv[i] = data[4 * i];
    let text = "";
    for (let i = 0; i < yuv.length; i += 8192) text += String.fromCharCode(...yuv.subarray(i, i + 8192));
    frames.push(btoa(text));
  }
  return frames;
}
