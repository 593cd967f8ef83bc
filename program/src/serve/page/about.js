// What the model is: its name, its data, and whether its classes are the letters of the alphabet.

import { expectClasses } from "./view.js";

const at = (id) => document.getElementById(id);

const say = (id, text) => {
  at(id).textContent = text;
  at(id).hidden = !text;
};

/// Asks the server, and puts what it says on the page. Whether the classes are letters: then words are
/// spelled with them. Where there is no answer, the page stays as it is.
export async function about() {
  let model;
  try {
    const response = await fetch("model");
    if (!response.ok) return true;
    model = await response.json();
  } catch {
    return true;
  }
  say("model", `Model ${model.name}${model.data ? `, trained on ${model.data}` : ""}.`);
  say("caution", model.synthetic
    ? "This model learned from drawn hands only. It never saw a photograph, so what it says of yours means little."
    : "");
  expectClasses(model.classes.length);
  if (model.letters) showAlphabet(model.classes);
  else speakOfClasses(model.classes);
  return model.letters;
}

/// Other labels than letters: nothing is spelled, and no hand is asked for.
function speakOfClasses(classes) {
  document.title = "Signet: classes of a picture";
  document.body.dataset.classes = "others";
  const names = classes.length > 8 ? "" : `: ${classes.join(", ")}`;
  at("purpose").textContent = `Says which of ${classes.length} classes a picture shows${names}.`;
  at("invitation").textContent = "Show it to the camera, or drop a picture of it here.";
  at("reading-title").textContent = "Class";
  at("top").setAttribute("aria-label", "The most probable classes");
  for (const id of ["spelling", "motions", "alphabet"]) at(id).hidden = true;
}

/// Which of the letters that are motions the model does not read: J and Z, but for models with outputs for
/// them.
function speakOfMotions(classes) {
  const unread = ["J", "Z"].filter((letter) => !classes.includes(letter));
  say("motions", ["", `${unread[0]} is a motion, so it is not read.`, "J and Z are motions, so they are not read."][unread.length]);
}

/// The hand shapes are fetched when someone wants to see them. J and Z have none, also where a model has
/// outputs for them.
function showAlphabet(classes) {
  speakOfMotions(classes);
  at("alphabet").hidden = false;
  at("alphabet").addEventListener("toggle", () => {
    if (at("hands").children.length) return;
    const still = classes.filter((letter) => !"JZ".includes(letter));
    at("hands").append(...still.map((letter) => {
      const [item, image, name] = ["li", "img", "span"].map((tag) => document.createElement(tag));
      image.src = `hands/${letter}.png`;
      image.width = image.height = 84;
      // The letter stands below it.
      image.alt = "";
      name.textContent = letter;
      item.append(image, name);
      return item;
    }));
  });
}
