/// A photograph, decoded and upright: `[height, width, 3]` row-major, red, green, blue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    /// Columns, at least 1.
    pub width: usize,
    /// Rows, at least 1.
    pub height: usize,
    /// Three bytes a pixel.
    pub rgb: Vec<u8>,
}

/// A grey image, `[height, width]` row-major; 0 is black.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grey {
    /// Columns, at least 1.
    pub width: usize,
    /// Rows, at least 1.
    pub height: usize,
    /// A byte a pixel.
    pub pixels: Vec<u8>,
}

impl Photo {
    /// Its luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), in the fixed-point arithmetic of PIL's
    /// `convert("L")`, which is what torchvision's `Grayscale` calls.
    pub fn grey(&self) -> Grey {
        let luma = |rgb: &[u8]| {
            let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
            ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
        };
        let pixels = self.rgb.chunks_exact(3).map(luma).collect();
        Grey { width: self.width, height: self.height, pixels }
    }

    /// The largest square in its middle; of an odd remainder, the greater half is cut at the right
    /// and at the bottom.
    pub fn centered(&self) -> Photo {
        let side = self.width.min(self.height);
        let (left, top) = ((self.width - side) / 2, (self.height - side) / 2);
        let rows = self.rgb.chunks_exact(3 * self.width).skip(top).take(side);
        let rgb = rows.flat_map(|row| &row[3 * left..3 * (left + side)]).copied().collect();
        Photo { width: side, height: side, rgb }
    }

    /// Made smaller, if need be, so that its longer side is `side`; the proportions stay, up to
    /// rounding.
    pub(super) fn reduced(&self, side: usize) -> Photo {
        let longer = self.width.max(self.height);
        if longer <= side {
            return self.clone();
        }
        let scaled = |length: usize| (length * side / longer).max(1);
        let (width, height) = (scaled(self.width), scaled(self.height));
        let channels = [0, 1, 2].map(|channel| {
            let pixels = self.rgb.iter().skip(channel).step_by(3).copied().collect();
            let plane = Grey { width: self.width, height: self.height, pixels };
            plane.resize(width, height).pixels
        });
        let pixel = |i: usize| [channels[0][i], channels[1][i], channels[2][i]];
        Photo { width, height, rgb: (0..width * height).flat_map(pixel).collect() }
    }

    /// The pixels of its outermost rows and columns, corners twice.
    pub(super) fn border(&self) -> impl Iterator<Item = &[u8]> {
        let pixel = |x: usize, y: usize| &self.rgb[3 * (y * self.width + x)..][..3];
        let (right, bottom) = (self.width - 1, self.height - 1);
        let rows = (0..self.width).flat_map(move |x| [pixel(x, 0), pixel(x, bottom)]);
        let columns = (0..self.height).flat_map(move |y| [pixel(0, y), pixel(right, y)]);
        rows.chain(columns)
    }
}
