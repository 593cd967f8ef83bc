// The word that is spelled: when a letter counts as held, and what the keys do to it.

/// A guess below this is none: there may be no hand at all.
export const SURE = 0.6;

/// How long a letter must be held, in milliseconds.
const HOLD = 1000;

/// A gap between two guesses longer than this is not a hand that holds still.
const GAP = 700;

export class Word {
  /// One entry a letter, or a space.
  #parts = [];
  #held = null;
  #since = 0;
  #last = 0;
  /// Whether the held letter is written already: it must be let go before it counts again.
  #written = false;

  get text() {
    return this.#parts.join("");
  }

  /// Takes the guess of the moment `now`. Returns how much of the time it has been held, 0 to 1, and
  /// whether it was added just now.
  see({ class: letter, probability }, now) {
    const sure = probability >= SURE ? letter : null;
    if (sure !== this.#held || now - this.#last > GAP) {
      this.#held = sure;
      this.#since = now;
      this.#written = false;
    }
    this.#last = now;
    if (sure === null || this.#written) return { part: 0, added: false };
    const part = Math.min(1, (now - this.#since) / HOLD);
    if (part < 1) return { part, added: false };
    this.#written = true;
    this.add(letter);
    return { part, added: true };
  }

  add(letter) {
    this.#parts.push(letter);
  }

  space() {
    this.#parts.push(" ");
  }

  delete() {
    this.#parts.pop();
  }

  clear() {
    this.#parts = [];
  }
}
