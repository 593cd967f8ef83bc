// Asks the server which letter, or other class, an image shows.

/// The largest file that the server takes.
const MAX_BYTES = 10 * 2 ** 20;

/// The server did not answer at all.
export class Gone extends Error {}

/// The server answered that it cannot do this, and why.
export class Refused extends Error {
  /// `seconds`: when it is worth another try, if it is.
  constructor(message, seconds) {
    super(message);
    this.seconds = seconds;
  }
}

let before = Promise.resolve();

/// `{ class, probability, top: [{ class, probability }, …], seen: [784 greys] }` for an image file.
/// Requests go one after the other, never two at a time.
export function predict(image) {
  const answer = before.then(() => ask(image));
  before = answer.catch(() => {});
  return answer;
}

async function ask(image) {
  if (image.size > MAX_BYTES) throw new Refused("The file is larger than 10 MiB.");
  let response;
  try {
    response = await fetch("predict?seen=true", { method: "POST", body: image });
  } catch {
    throw new Gone();
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const seconds = Number(response.headers.get("Retry-After")) || undefined;
  throw new Refused(`${answer.error ?? `The server answers with ${response.status}`}.`, seconds);
}
