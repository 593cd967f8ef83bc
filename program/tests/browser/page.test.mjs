// The page of `signet serve` in a browser, as a person uses it: scripts/browser-check runs this.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import {
  DENIED, OUT, drop, fakeCamera, launch, makeHands, open, overflow, predict, screenshot, serve, violations,
} from "./harness.mjs";

const SIZES = [[1280, 800], [390, 844]];
const SCHEMES = ["light", "dark"];

/// Longer than the video of the fake camera takes.
const PATIENCE = { timeout: 30_000 };

let server, withCamera, without, hands;

before(async () => {
  server = await serve();
  without = await launch();
  const made = await makeHands(without);
  hands = made.hands;
  withCamera = await launch(fakeCamera(made.video));
});

after(async () => {
  await withCamera?.close();
  await without?.close();
  await server?.stop();
});

const text = (page, id) => page.locator(`#${id}`).textContent();

/// Waits until the element holds `expected`.
async function becomes(page, id, expected) {
  const matches = ([id, source]) => new RegExp(source).test(document.getElementById(id).textContent);
  await page.waitForFunction(matches, [id, expected.source], PATIENCE).catch(async () => {
    assert.match(await text(page, id), expected);
  });
}

test("a hand before the camera becomes a letter, and held for a second it is written", async () => {
  const { page, troubles } = await open(withCamera, server.url);
  let [under_way, most, sent] = [0, 0, null];
  await page.route("**/predict*", async (route) => {
    most = Math.max(most, ++under_way);
    sent = route.request().postDataBuffer();
    const answer = await route.fetch();
    await new Promise((done) => setTimeout(done, 300));
    under_way--;
    await route.fulfill({ response: answer });
  });
  await page.getByRole("button", { name: "Start camera" }).click();
  const [first, second] = hands.map((hand) => hand.letter);
  await becomes(page, "letter", new RegExp(`^${first}$`));
  const photograph = sent;
  await becomes(page, "word", new RegExp(`${first}.*${second}|${second}.*${first}`));
  assert.equal(most, 1, "the next question waits for the answer");
  assert.match(await text(page, "announcer"), /^. added/);
  assert.equal(await page.locator("#letter").getAttribute("data-sure"), "yes");

  // What was sent is the square, and not mirrored as the preview is.
  writeFileSync(join(OUT, "sent.jpg"), photograph);
  const images = [photograph, readFileSync(hands[0].path)].map((bytes) => bytes.toString("base64"));
  const [as_it_is, mirrored] = await without.newPage().then((page) => page.evaluate(differences, images));
  assert.ok(as_it_is < 12 && mirrored > as_it_is + 3, `${as_it_is} ${mirrored}`);
  assert.equal(await page.locator("video").evaluate((video) => getComputedStyle(video).transform), "matrix(-1, 0, 0, 1, 0, 0)");

  // The square changes sides for a left hand: there is only wall in it then.
  const side = () => page.locator(".guide").evaluate((guide) => guide.offsetLeft / guide.parentElement.offsetWidth);
  assert.ok((await side()) > 0.4);
  await page.getByLabel("Left hand").check();
  assert.ok((await side()) < 0.1);
  await page.getByLabel("Left hand").uncheck();

  const track = await page.locator("video").evaluateHandle((video) => video.srcObject.getTracks()[0]);
  await page.getByRole("button", { name: "Stop camera" }).click();
  assert.equal(await track.evaluate((track) => track.readyState), "ended", "the camera's light goes out");
  await becomes(page, "certainty", /No picture yet/);
  assert.deepEqual(troubles, []);
  await page.close();
});

/// In the browser: the mean difference of two images, as they are and with the first one mirrored.
async function differences(images) {
  const context = new OffscreenCanvas(64, 64).getContext("2d", { willReadFrequently: true });
  const pixels = async (base64, scale) => {
    const image = new Image();
    image.src = `data:image/any;base64,${base64}`;
    await image.decode();
    context.setTransform(scale, 0, 0, 1, scale < 0 ? 64 : 0, 0);
    context.drawImage(image, 0, 0, 64, 64);
    return context.getImageData(0, 0, 64, 64).data;
  };
  const hand = await pixels(images[1], 1);
  const means = [];
  for (const scale of [1, -1]) {
    const sent = await pixels(images[0], scale);
    means.push(sent.reduce((sum, value, i) => sum + Math.abs(value - hand[i]), 0) / sent.length);
  }
  return means;
}

test("a dropped, a chosen and a pasted picture are read as signet predict reads them", async () => {
  const { page, troubles } = await open(without, server.url);
  for (const [hand, name] of [[hands[0], "one.png"], [hands[1], "two.png"]]) {
    await drop(page, hand.path, name, "image/png");
    await becomes(page, "state", new RegExp(`^${name}$`));
    const { letter, probability, top } = predict(hand.path);
    assert.equal(await text(page, "letter"), letter);
    assert.equal(await text(page, "certainty"), `${Math.round(100 * probability)} % sure`);
    const rows = top.map((guess) => guess.class + `${Math.round(100 * guess.probability)} %`);
    assert.deepEqual(await page.locator("#top li").allTextContents(), rows);
    assert.match(await text(page, "announcer"), new RegExp(`${name}: ${letter}`));
  }
  // What the network saw of it is drawn.
  const drawn = await page.locator("#seen").evaluate((seen) => new Set(seen.getContext("2d").getImageData(0, 0, 28, 28).data).size);
  assert.ok(drawn > 20, `${drawn} greys`);

  await page.locator("#file").setInputFiles(hands[0].path);
  await becomes(page, "letter", new RegExp(`^${hands[0].letter}$`));
  const bytes = readFileSync(hands[1].path).toString("base64");
  await page.evaluate(async (bytes) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(bytes), (byte) => byte.charCodeAt(0))], "pasted.png"));
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
  }, bytes);
  await becomes(page, "state", /^pasted.png$/);
  assert.equal(await text(page, "letter"), hands[1].letter);
  assert.deepEqual(troubles, []);

  // What is no picture is said, and the page goes on.
  await drop(page, new URL("package.json", import.meta.url).pathname, "notes.txt", "text/plain");
  await becomes(page, "state", /^notes.txt: it is no PNG, JPEG, WebP, GIF, BMP or TIFF image/);
  assert.equal(await text(page, "letter"), "–");
  writeFileSync(join(OUT, "large.png"), Buffer.alloc(11 * 2 ** 20));
  await page.locator("#file").setInputFiles(join(OUT, "large.png"));
  await becomes(page, "state", /larger than 10 MiB/);
  await drop(page, hands[0].path, "again.png", "image/png");
  await becomes(page, "letter", new RegExp(`^${hands[0].letter}$`));
  await page.close();
});

test("everything can be done by keyboard alone, and the focus can be seen", async () => {
  const { page, troubles } = await open(withCamera, server.url);
  const tab = async (id) => {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate(() => {
      const element = document.activeElement;
      // The label stands for the file chooser, which is not shown.
      const shown = element.id === "file" ? document.querySelector("label[for=file]") : element;
      const { outlineStyle, outlineWidth } = getComputedStyle(shown);
      return { id: element.id, outline: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
    });
    assert.deepEqual(focus, { id, outline: true });
  };
  // With the focus nowhere, there is no letter to add yet.
  await page.keyboard.press("Enter");
  assert.equal(await text(page, "word"), "");
  await tab("camera");
  await page.keyboard.press("Enter");
  await becomes(page, "letter", new RegExp(`^${hands[0].letter}$`));
  await tab("file");
  await tab("left");
  await page.keyboard.press("Space");
  assert.equal(await page.getByLabel("Left hand").isChecked(), true);
  await page.keyboard.press("Space");
  await tab("add");
  await becomes(page, "letter", new RegExp(`^${hands[0].letter}$`));
  await page.keyboard.press("Enter");
  await becomes(page, "word", new RegExp(hands[0].letter));
  // A picture stays the same, so that only keys change the word from here on.
  await drop(page, hands[1].path, "two.png", "image/png");
  await becomes(page, "state", /^two.png$/);
  const { letter } = hands[1];
  await becomes(page, "letter", new RegExp(`^${letter}$`));
  await tab("space");
  await tab("delete");
  await tab("clear");
  await page.keyboard.press("Enter");
  assert.equal(await text(page, "word"), "");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Space");
  assert.equal(await text(page, "word"), `${letter} `);
  // With the focus on no control, the keys themselves do it.
  await page.evaluate(() => document.activeElement.blur());
  for (const key of ["Enter", "Space", "Enter", "Backspace"]) await page.keyboard.press(key);
  assert.equal(await text(page, "word"), `${letter} ${letter} `);
  assert.deepEqual(troubles, []);
  await page.close();
});

test("without a camera the page says what to do, and pictures work", async (t) => {
  const denied = await launch(DENIED);
  t.after(() => denied.close());
  for (const [browser, said] of [[denied, /blocked for this page.*choose a picture/], [without, /There is no camera.*choose a picture/]]) {
    const { page, troubles } = await open(browser, server.url);
    await page.click("#camera");
    await becomes(page, "state", said);
    assert.equal(await page.locator("#state").getAttribute("data-kind"), "problem");
    assert.equal(await text(page, "camera"), "Start camera");
    if (browser === denied) await screenshot(page, "denied-1280-light");
    await drop(page, hands[0].path, "one.png", "image/png");
    await becomes(page, "letter", new RegExp(`^${hands[0].letter}$`));
    assert.deepEqual(troubles, []);
    await page.close();
  }
});

test("when the server goes the page says so, and goes on when it is back", async (t) => {
  let own = await serve();
  t.after(() => own.stop());
  const { page } = await open(withCamera, own.url);
  await page.click("#camera");
  await becomes(page, "letter", /^[A-Y]$/);
  await own.stop();
  await becomes(page, "state", /^The server does not answer/);
  own = await serve(own.port);
  await becomes(page, "state", /^Hold your hand in the square/);
  await page.close();
});

test("what is not read for being a motion depends on the model", async () => {
  const alphabet = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"];
  const without_both = alphabet.filter((letter) => !"JZ".includes(letter));
  for (const [classes, said] of [
    [without_both, "J and Z are motions, so they are not read."],
    [alphabet.slice(0, 25), "Z is a motion, so it is not read."],
    [alphabet, ""],
  ]) {
    const page = await without.newPage();
    const model = { name: "letters", classes, letters: true, data: null, synthetic: false };
    await page.route("**/model", (route) => route.fulfill({ json: model }));
    await page.goto(server.url);
    await becomes(page, "model", /^Model letters\.$/);
    assert.equal(await text(page, "motions"), said);
    assert.equal(await page.locator("#motions").isVisible(), said !== "");
    assert.equal(await page.locator("#top li").count(), 5);
    assert.equal(await page.locator(".invitation .hand").isVisible(), true);
    await page.close();
  }
});

for (const [width, height] of SIZES) {
  test(`a model of other labels has a page about classes: ${width} x ${height}`, async () => {
    const context = await without.newContext({ viewport: { width, height } });
    const page = await context.newPage();
    const classes = ["level", "plain", "upright stripes"];
    const model = { name: "stripes", classes, letters: false, data: "images", synthetic: false };
    await page.route("**/model", (route) => route.fulfill({ json: model }));
    const top = classes.map((name, i) => ({ class: name, probability: [0.9, 0.06, 0.04][i] }));
    await page.route("**/predict*", (route) => route.fulfill({ json: { ...top[0], top } }));
    await page.goto(server.url);
    await becomes(page, "purpose", /^Says which of 3 classes a picture shows: level, plain, upright stripes\.$/);
    assert.equal(await page.locator("#spelling").isVisible(), false);
    assert.equal(await page.locator("#alphabet").isVisible(), false);
    // No row for a fourth class, and no drawing of a hand.
    assert.equal(await page.locator("#top li").count(), 3);
    assert.equal(await page.locator(".invitation svg").isVisible(), true);
    assert.equal(await page.locator(".invitation .hand").isVisible(), false);
    await screenshot(page, `classes-empty-${width}-light`);
    await drop(page, hands[0].path, "one.png", "image/png");
    await becomes(page, "letter", /^level$/);
    // No word is spelled, by keys neither.
    await page.keyboard.press("Enter");
    assert.equal(await text(page, "word"), "");
    assert.equal(await page.locator("#top li").count(), 3);
    assert.doesNotMatch(await page.locator("body").innerText(), /letter|hand/i);
    await screenshot(page, `classes-${width}-light`);
    assert.deepEqual(await violations(page), []);
    assert.deepEqual(await overflow(page), { page: 0, wide: [] });
    await context.close();
  });

  for (const colorScheme of SCHEMES) {
    test(`nothing overflows and axe-core finds nothing: ${width} x ${height}, ${colorScheme}`, async () => {
      const { page, troubles } = await open(withCamera, server.url, { width, height, colorScheme, reducedMotion: "reduce" });
      const check = async (state) => {
        await screenshot(page, `${state}-${width}-${colorScheme}`);
        assert.deepEqual(await violations(page), [], state);
        assert.deepEqual(await overflow(page), { page: 0, wide: [] }, state);
      };
      await becomes(page, "model", /^Model \S+, trained on synthetic hands/);
      await becomes(page, "caution", /never saw a photograph/);
      await check("empty");
      // The alphabet is drawn for who wants to see it.
      await page.getByText("The hand shapes of the letters").click();
      await page.waitForFunction(() => {
        const hands = [...document.querySelectorAll("#hands img")];
        return hands.length === 24 && hands.every((hand) => hand.complete && hand.naturalWidth === 168);
      });
      await check("alphabet");
      await page.getByText("The hand shapes of the letters").click();
      await page.click("#camera");
      await becomes(page, "letter", new RegExp(`^${hands[0].letter}$`));
      await becomes(page, "word", /^..$/);
      await check("camera");
      await drop(page, hands[0].path, `${"a-long-name-".repeat(9)}.png`, "image/png");
      await becomes(page, "state", /^a-long-name/);
      for (let i = 0; i < 60; i++) await page.click("#add");
      await check("picture");
      await drop(page, new URL("package.json", import.meta.url).pathname, "notes.txt", "text/plain");
      await becomes(page, "state", /no PNG/);
      await check("problem");
      // Classes of another data set have other names than letters, and may be unsure.
      await page.route("**/predict*", (route) => {
        const top = ["upright stripes", "level"].map((name) => ({ class: name, probability: 0.41 }));
        route.fulfill({ json: { ...top[0], top } });
      });
      await drop(page, hands[0].path, "stripes.png", "image/png");
      await becomes(page, "letter", /^upright stripes$/);
      assert.match(await text(page, "certainty"), /^Not sure: 41 % at best/);
      await check("unsure");
      assert.equal(await page.locator(".caret").evaluate((caret) => getComputedStyle(caret).animationName), "none");
      assert.deepEqual(troubles, []);
      await page.close();
    });
  }
}
