//! The joint angles of each letter, in degrees: a right hand, its palm to the viewer.

/// Two joints of a finger: how far it is spread towards the thumb's side, and how far it is bent
/// at the knuckle and at the middle joint.
pub(super) type Finger = [f32; 3];

/// Two bones of the thumb: each one's direction in the plane of the palm (0 is up, 90 outwards,
/// away from the palm) and how far it is lifted towards the viewer.
pub(super) type Thumb = [[f32; 2]; 2];

/// The shape of a hand.
pub(super) struct Pose {
    /// Index, middle, ring and little finger.
    pub fingers: [Finger; 4],
    pub thumb: Thumb,
    /// Of the whole hand: roll in the image plane (to the left), turn about the forearm, and tip
    /// towards the viewer.
    pub hand: [f32; 3],
}

const UP: Finger = [0.0, 0.0, 5.0];
const LEFT: Finger = [-11.0, 0.0, 0.0];
const RIGHT: Finger = [11.0, 0.0, 0.0];
const FIST: Finger = [0.0, 80.0, 105.0];
const CLAW: Finger = [0.0, 20.0, 125.0];
const HOOK: Finger = [0.0, -5.0, 80.0];
const CURVE: Finger = [0.0, 30.0, 55.0];
const RING: Finger = [0.0, 60.0, 70.0];
const DRAPE: Finger = [0.0, 65.0, 70.0];

const BESIDE: Thumb = [[25.0, 25.0], [0.0, 0.0]];
const ACROSS: Thumb = [[-5.0, 60.0], [-65.0, 15.0]];
const LOW: Thumb = [[-20.0, 50.0], [-85.0, 0.0]];
const OUT: Thumb = [[60.0, 0.0], [75.0, 0.0]];
const OPPOSED: Thumb = [[35.0, 50.0], [10.0, 50.0]];
const ALONG: Thumb = [[25.0, 45.0], [5.0, 20.0]];

const UPRIGHT: [f32; 3] = [0.0, 0.0, 0.0];

const fn pose(fingers: [Finger; 4], thumb: Thumb, hand: [f32; 3]) -> Pose {
    Pose { fingers, thumb, hand }
}

/// A to Y without J.
#[rustfmt::skip]
pub(super) const POSES: [Pose; 24] = [
    /* A */ pose([FIST, FIST, FIST, FIST], BESIDE, UPRIGHT),
    /* B */ pose([UP, UP, UP, UP], LOW, UPRIGHT),
    /* C */ pose([CURVE, CURVE, CURVE, CURVE], OPPOSED, [0.0, 70.0, 0.0]),
    /* D */ pose([UP, RING, RING, RING], OPPOSED, [0.0, 35.0, 0.0]),
    /* E */ pose([CLAW, CLAW, CLAW, CLAW], LOW, UPRIGHT),
    /* F */ pose([[15.0, 55.0, 75.0], RIGHT, UP, LEFT], OPPOSED, [0.0, 25.0, 0.0]),
    /* G */ pose([UP, FIST, FIST, FIST], ALONG, [-85.0, 130.0, 0.0]),
    /* H */ pose([UP, UP, FIST, FIST], ACROSS, [-85.0, 160.0, 0.0]),
    /* I */ pose([FIST, FIST, FIST, UP], ACROSS, UPRIGHT),
    /* K */ pose([RIGHT, [-8.0, 35.0, 0.0], FIST, FIST], [[10.0, 50.0], [-5.0, 30.0]], UPRIGHT),
    /* L */ pose([UP, FIST, FIST, FIST], OUT, UPRIGHT),
    /* M */ pose([DRAPE, DRAPE, DRAPE, FIST], LOW, [0.0, 0.0, 15.0]),
    /* N */ pose([DRAPE, DRAPE, FIST, FIST], LOW, [0.0, 0.0, 15.0]),
    /* O */ pose([RING, RING, RING, RING], OPPOSED, [0.0, 70.0, 0.0]),
    /* P */ pose([RIGHT, [-8.0, 55.0, 0.0], FIST, FIST], ALONG, [130.0, 30.0, 0.0]),
    /* Q */ pose([UP, FIST, FIST, FIST], ALONG, [165.0, 40.0, 0.0]),
    /* R */ pose([[-19.0, 10.0, 0.0], [16.0, -5.0, 0.0], FIST, FIST], ACROSS, UPRIGHT),
    /* S */ pose([FIST, FIST, FIST, FIST], ACROSS, UPRIGHT),
    /* T */ pose([DRAPE, FIST, FIST, FIST], [[-10.0, 50.0], [-15.0, 30.0]], UPRIGHT),
    /* U */ pose([UP, UP, FIST, FIST], ACROSS, UPRIGHT),
    /* V */ pose([RIGHT, LEFT, FIST, FIST], ACROSS, UPRIGHT),
    /* W */ pose([RIGHT, UP, LEFT, FIST], LOW, UPRIGHT),
    /* X */ pose([HOOK, FIST, FIST, FIST], ACROSS, [0.0, 50.0, 0.0]),
    /* Y */ pose([FIST, FIST, FIST, LEFT], OUT, UPRIGHT),
];
