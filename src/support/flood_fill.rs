//! What hangs together in an image.
#![forbid(unsafe_code)]

/// Finds the pixels that hang together with `seeds`, side by side, where `joins(from, to)`: `found`
/// becomes all of them, the seeds first. Pixels that `is_found` has already are left out, and new ones
/// are marked there. A row has `width` pixels.
pub fn flood_fill(
    seeds: impl IntoIterator<Item = usize>,
    found: &mut Vec<usize>,
    is_found: &mut [bool],
    width: usize,
    joins: impl Fn(usize, usize) -> bool,
) {
    found.clear();
    found.extend(seeds.into_iter().filter(|&seed| !std::mem::replace(&mut is_found[seed], true)));
    // Those from `next` on still have to be looked around from.
    let mut next = 0;
    while let Some(&at) = found.get(next) {
        next += 1;
        let x = at % width;
        let beside = [
            (x > 0).then(|| at - 1),
            (x + 1 < width).then_some(at + 1),
            at.checked_sub(width),
            (at + width < is_found.len()).then_some(at + width),
        ];
        for near in beside.into_iter().flatten() {
            if !is_found[near] && joins(at, near) {
                is_found[near] = true;
                found.push(near);
            }
        }
    }
}
