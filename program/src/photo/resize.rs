use super::Grey;

/// Fraction bits of a weight: with 8 of the pixel and a sign, 32 bits hold a sum of products.
const FRACTION: u32 = 22;

impl Grey {
    /// Antialiased bilinear resizing: each output pixel is the mean of the input pixels below a
    /// triangle that is as wide as two output pixels (or two input pixels, if those are larger).
    ///
    /// The very bytes of PIL's `resize(size, Image.BILINEAR)`, which torchvision's `Resize` calls, up
    /// to version 12: columns first, then rows, weights and sums in fixed point, rounded to bytes
    /// between the two. Version 13 takes the rows of some shapes first, which may round to the next
    /// grey.
    /// Without the triangle's widening, fine lines would come and go with the place they fall on.
    ///
    /// `width` and `height` are at least 1.
    pub fn resize(&self, width: usize, height: usize) -> Grey {
        self.resize_columns(width).transposed().resize_columns(height).transposed()
    }

    /// `[height, self.width]` to `[height, width]`.
    fn resize_columns(&self, width: usize) -> Grey {
        let windows: Vec<Window> = (0..width).map(|x| Window::of(x, width, self.width)).collect();
        let mut pixels = Vec::with_capacity(self.height * width);
        for row in self.pixels.chunks_exact(self.width) {
            pixels.extend(windows.iter().map(|window| window.mean(row)));
        }
        Grey { width, height: self.height, pixels }
    }

    fn transposed(&self) -> Grey {
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for x in 0..self.width {
            pixels.extend(self.pixels.iter().skip(x).step_by(self.width));
        }
        Grey { width: self.height, height: self.width, pixels }
    }
}

/// The input pixels below one output pixel's triangle, and their weights.
struct Window {
    first: usize,
    /// They sum to about `1 << FRACTION`.
    weights: Vec<i32>,
}

impl Window {
    /// Of output pixel `x` of `outputs`, over a row of `inputs`.
    fn of(x: usize, outputs: usize, inputs: usize) -> Self {
        let scale = inputs as f64 / outputs as f64;
        let reach = scale.max(1.0);
        let center = (x as f64 + 0.5) * scale;
        // A cast to an integer stops at 0 and cuts the fraction off, as C's does.
        let first = (center - reach + 0.5) as usize;
        let end = ((center + reach + 0.5) as usize).min(inputs);
        // Multiplied, not divided: PIL's rounding.
        let scale = 1.0 / reach;
        let weight = |i: usize| {
            let distance = (i as f64 - center + 0.5) * scale;
            (1.0 - distance.abs()).max(0.0)
        };
        let sum: f64 = (first..end).map(weight).sum();
        let fixed = |i| (weight(i) / sum * f64::from(1 << FRACTION) + 0.5) as i32;
        Self { first, weights: (first..end).map(fixed).collect() }
    }

    fn mean(&self, row: &[u8]) -> u8 {
        let pixels = row[self.first..].iter().zip(&self.weights);
        let sum: i32 = pixels.map(|(&pixel, weight)| i32::from(pixel) * weight).sum();
        ((sum + (1 << (FRACTION - 1))) >> FRACTION).clamp(0, 255) as u8
    }
}
