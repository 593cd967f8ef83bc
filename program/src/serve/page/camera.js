// The camera: starting it, stopping it, and cutting the square with the hand out of what it shows.

/// The longer side of what is sent, in pixels: the server looks for the hand in no more.
const SIDE = 320;

/// The square's side, in parts of the picture's shorter side, and its distance from the edge.
const SQUARE = 0.72;
const EDGE = 0.04;

/// Where the square is in the mirrored preview, in parts of its width and height: at the side of the
/// hand, beside the face rather than before it.
export function square(width, height, leftHand) {
  const side = SQUARE * Math.min(width, height);
  const edge = EDGE * width;
  const left = leftHand ? edge : width - side - edge;
  return { left: left / width, top: (height - side) / 2 / height, width: side / width };
}

export class Camera {
  #video;
  #canvas = document.createElement("canvas");

  /// `onEnd` is called when the camera goes away by itself.
  constructor(video, onEnd) {
    this.#video = video;
    this.onEnd = onEnd;
    this.#canvas.width = this.#canvas.height = SIDE;
  }

  /// Asks for the camera and shows it. Throws what the browser says when it is not to be had.
  async start() {
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" };
    const stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
    stream.getVideoTracks()[0].addEventListener("ended", () => this.onEnd());
    this.#video.srcObject = stream;
    await this.#video.play();
  }

  stop() {
    this.#video.srcObject?.getTracks().forEach((track) => track.stop());
    this.#video.srcObject = null;
  }

  /// The square as a JPEG file, or null while there is no picture yet.
  ///
  /// The preview is mirrored, what is sent is not: a mirrored right hand is a left hand, and the
  /// network learned from right hands as a camera sees them. For a left hand it is the other way
  /// round: mirrored, it looks like the hands of the training images.
  async photograph(leftHand) {
    const { videoWidth: width, videoHeight: height } = this.#video;
    if (!width) return null;
    const place = square(width, height, leftHand);
    const side = place.width * width;
    // From the left of the preview to the left of the picture.
    const left = width - place.left * width - side;
    const context = this.#canvas.getContext("2d");
    context.setTransform(leftHand ? -1 : 1, 0, 0, 1, leftHand ? SIDE : 0, 0);
    context.drawImage(this.#video, left, place.top * height, side, side, 0, 0, SIDE, SIDE);
    return new Promise((done) => this.#canvas.toBlob(done, "image/jpeg", 0.92));
  }
}

/// What to do when the camera could not be started.
export function reason(error) {
  const file = "Or choose a picture instead.";
  switch (error.name) {
    case "NotAllowedError":
      return `The camera is blocked for this page. Allow it beside the address above, then start it again. ${file}`;
    case "NotFoundError":
    case "OverconstrainedError":
      return `There is no camera. Plug one in and start it again. ${file}`;
    case "NotReadableError":
    case "AbortError":
      return `The camera does not answer; another program may be using it. Close that and start again. ${file}`;
    case "SecurityError":
      return `Browsers give the camera only to pages of their own machine or over https. ${file}`;
    default:
      return `The camera cannot be used: ${error.message || error.name}. ${file}`;
  }
}
