//! Draws a posed hand: bones as capsules, far to near, each by its signed distance.

use super::pose::Pose;
use crate::data::SIDE;
use crate::rng::Sequence;

/// Right, up, towards the viewer; the palm is about 1 wide.
type Vector = [f32; 3];

/// A bone with its flesh: a line from `a` to `b`, `radius` thick.
struct Capsule {
    a: Vector,
    b: Vector,
    radius: f32,
}

/// Draws one image of `pose` into `image`, `[28, 28]` row-major.
///
/// Pose, proportions, light, skin, background and noise vary with `random`.
pub(super) fn render(pose: &Pose, random: &mut Sequence, image: &mut [u8]) {
    let mut capsules = hand(pose, |value, by| value + by * random.range(-1.0, 1.0) as f32);
    // The forearm comes last: it may leave the image, the hand should not.
    let bones = &capsules[..capsules.len() - 1];
    let frame = Frame::around(bones, SIDE, random.range(0.78, 0.98) as f32, || {
        random.range(-1.0, 1.0) as f32
    });
    far_to_near(&mut capsules);
    let between = |random: &mut Sequence, low: f32, high: f32| {
        random.range(f64::from(low), f64::from(high)) as f32
    };

    let wall = between(random, 0.3, 0.9);
    let slope = [between(random, -0.15, 0.15), between(random, -0.15, 0.15)];
    let contrast = between(random, 0.15, 0.4);
    let lighter = random.uniform() < 0.5;
    let skin = if (lighter && wall + contrast < 1.0) || wall - contrast < 0.25 {
        wall + contrast
    } else {
        wall - contrast
    };
    let light = unit([between(random, -0.6, 0.6), between(random, -0.2, 0.8), 1.0]);

    let mut canvas = [0f32; SIDE * SIDE];
    for (index, value) in canvas.iter_mut().enumerate() {
        let place = |pixel: usize| pixel as f32 / SIDE as f32 - 0.5;
        *value = wall + slope[0] * place(index % SIDE) + slope[1] * place(index / SIDE);
    }
    for capsule in &capsules {
        frame.draw(capsule, skin, light, &mut canvas);
    }
    let noise = between(random, 0.005, 0.03);
    for (pixel, value) in image.iter_mut().zip(canvas) {
        let noisy = value + noise * grain(random);
        *pixel = (noisy.clamp(0.0, 1.0) * 255.0).round() as u8;
    }
}

/// Draws `pose` as it is meant, larger and without chance: `[side, side]` row-major.
pub(super) fn portrait(pose: &Pose, side: usize) -> Vec<u8> {
    const WALL: f32 = 0.93;
    const SKIN: f32 = 0.66;
    let mut capsules = hand(pose, |value, _| value);
    let frame = Frame::around(&capsules[..capsules.len() - 1], side, 0.92, || 0.0);
    far_to_near(&mut capsules);
    let mut canvas = vec![WALL; side * side];
    for capsule in &capsules {
        frame.draw(capsule, SKIN, unit([-0.35, 0.5, 1.0]), &mut canvas);
    }
    canvas.into_iter().map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8).collect()
}

fn far_to_near(capsules: &mut [Capsule]) {
    capsules.sort_by(|x, y| (x.a[2] + x.b[2]).total_cmp(&(y.a[2] + y.b[2])));
}

/// About normal: the sum of four bytes, from one random word and without a logarithm.
fn grain(random: &mut Sequence) -> f32 {
    const MEAN: f32 = 4.0 * 127.5;
    const STD: f32 = 147.8;
    let sum: u32 = random.next_u32().to_le_bytes().map(u32::from).iter().sum();
    (sum as f32 - MEAN) / STD
}

/// The capsules of the hand, turned as posed; the last one is the forearm. `jitter` gives a value that
/// may differ from the one it is given by so much.
fn hand(pose: &Pose, mut jitter: impl FnMut(f32, f32) -> f32) -> Vec<Capsule> {
    /// Where each finger leaves the palm, and the angle at which it does.
    const KNUCKLES: [[f32; 3]; 4] =
        [[0.34, 0.42, 5.0], [0.12, 0.49, 1.0], [-0.11, 0.45, -3.0], [-0.33, 0.33, -8.0]];
    const LENGTHS: [f32; 4] = [0.92, 1.0, 0.94, 0.76];

    let thickness = jitter(0.125, 0.015);
    let stretch = jitter(1.0, 0.08);
    let mut capsules = Vec::with_capacity(16);
    for (finger, (knuckle, length)) in pose.fingers.iter().zip(KNUCKLES.iter().zip(LENGTHS)) {
        let root = [knuckle[0], knuckle[1], 0.0];
        let spread = jitter(finger[0] + knuckle[2], 3.0);
        let bend = jitter(finger[1], 7.0);
        let middle = along(root, spread, bend, 0.45 * length * stretch);
        let tip = along(middle, spread, bend + jitter(finger[2], 7.0), 0.48 * length * stretch);
        let wrist = [0.55 * knuckle[0], -0.5, 0.0];
        capsules.push(Capsule { a: wrist, b: root, radius: 1.35 * thickness });
        capsules.push(Capsule { a: root, b: middle, radius: thickness });
        capsules.push(Capsule { a: middle, b: tip, radius: 0.9 * thickness });
    }
    let root = [0.25, -0.35, 0.05];
    let [first, second] = pose.thumb.map(|bone| bone.map(|angle| jitter(angle, 7.0)));
    let joint = along(root, first[0], first[1], 0.45 * stretch);
    let tip = along(joint, second[0], second[1], 0.42 * stretch);
    capsules.push(Capsule { a: root, b: joint, radius: 1.25 * thickness });
    capsules.push(Capsule { a: joint, b: tip, radius: thickness });
    capsules.push(Capsule { a: [0.0, -0.55, -0.05], b: [0.0, -2.6, -0.3], radius: 0.26 });

    let [roll, turn, tip] = pose.hand;
    let turned = Turn::new(jitter(roll, 10.0), jitter(turn, 10.0), jitter(tip, 10.0));
    for capsule in &mut capsules {
        capsule.a = turned.apply(capsule.a);
        capsule.b = turned.apply(capsule.b);
    }
    capsules
}

/// The point `length` away from `from`, `side` degrees right of up and `lift` degrees towards the
/// viewer.
fn along(from: Vector, side: f32, lift: f32, length: f32) -> Vector {
    let (side, lift) = (side.to_radians(), lift.to_radians());
    let flat = length * lift.cos();
    [from[0] + flat * side.sin(), from[1] + flat * side.cos(), from[2] + length * lift.sin()]
}

/// A rotation, as the sine and cosine of three angles.
struct Turn([(f32, f32); 3]);

impl Turn {
    fn new(roll: f32, turn: f32, tip: f32) -> Self {
        Self([roll, turn, tip].map(|angle| angle.to_radians().sin_cos()))
    }

    fn apply(&self, [x, y, z]: Vector) -> Vector {
        let [roll, turn, tip] = self.0;
        let (x, z) = (turn.1 * x - turn.0 * z, turn.0 * x + turn.1 * z);
        let (y, z) = (tip.1 * y - tip.0 * z, tip.0 * y + tip.1 * z);
        [roll.1 * x - roll.0 * y, roll.0 * x + roll.1 * y, z]
    }
}

fn unit(v: Vector) -> Vector {
    let length = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
    v.map(|part| part / length)
}

/// How the hand lies in the image.
struct Frame {
    centre: [f32; 2],
    /// Pixels per unit.
    scale: f32,
    /// Pixels of the image across and down.
    side: usize,
}

impl Frame {
    /// A frame of `side` pixels that holds all of `capsules`, `zoom` as large as it could. Where the
    /// hand lies in it is up to `play`, between -1 and 1 for each axis.
    fn around(capsules: &[Capsule], side: usize, zoom: f32, mut play: impl FnMut() -> f32) -> Self {
        let (mut low, mut high) = ([f32::MAX; 2], [f32::MIN; 2]);
        for capsule in capsules {
            for axis in 0..2 {
                let (a, b) = (capsule.a[axis], capsule.b[axis]);
                low[axis] = low[axis].min(a.min(b) - capsule.radius);
                high[axis] = high[axis].max(a.max(b) + capsule.radius);
            }
        }
        let size = (high[0] - low[0]).max(high[1] - low[1]);
        // Half way between one scale for all letters and filling the image with each.
        let scale = side as f32 / (0.5 * (size + 2.0)) * zoom;
        let room = 0.05 * side as f32 / scale;
        let centre = [0, 1].map(|axis: usize| 0.5 * (low[axis] + high[axis]) + room * play());
        Self { centre, scale, side }
    }

    /// Lays `capsule` over the canvas: a soft dark rim that sets it off, then the lit flesh.
    fn draw(&self, capsule: &Capsule, skin: f32, light: Vector, canvas: &mut [f32]) {
        let side = self.side;
        // As wide a rim as it has in an image of the network's size.
        let rim_width = 0.8 * side as f32 / SIDE as f32;
        let middle = side as f32 / 2.0;
        let place = |[x, y, _]: Vector| {
            [middle + (x - self.centre[0]) * self.scale, middle - (y - self.centre[1]) * self.scale]
        };
        let (a, b, radius) = (place(capsule.a), place(capsule.b), capsule.radius * self.scale);
        let line = [b[0] - a[0], b[1] - a[1]];
        let square = (line[0] * line[0] + line[1] * line[1]).max(1e-6);
        let pixels = |axis: usize| {
            let low = (a[axis].min(b[axis]) - radius - rim_width - 0.7).max(0.0) as usize;
            let high = (a[axis].max(b[axis]) + radius + rim_width + 0.7).max(0.0) as usize;
            low..high.min(side)
        };
        for row in pixels(1) {
            for column in pixels(0) {
                let from_a = [column as f32 + 0.5 - a[0], row as f32 + 0.5 - a[1]];
                let t = (from_a[0] * line[0] + from_a[1] * line[1]) / square;
                let t = t.clamp(0.0, 1.0);
                let out = [from_a[0] - t * line[0], from_a[1] - t * line[1]];
                let distance = (out[0] * out[0] + out[1] * out[1]).sqrt();
                let covered = (radius - distance + 0.5).clamp(0.0, 1.0);
                let rim = (radius + rim_width - distance + 0.5).clamp(0.0, 1.0);
                if rim == 0.0 {
                    continue;
                }
                let [nx, ny] = out.map(|part| part / radius);
                let nz = (1.0 - nx * nx - ny * ny).max(0.0).sqrt();
                let lit = (nx * light[0] - ny * light[1] + nz * light[2]).max(0.0);
                let value = &mut canvas[row * side + column];
                *value *= 1.0 - 0.25 * (rim - covered);
                *value += covered * (skin * (0.55 + 0.5 * lit) - *value);
            }
        }
    }
}
