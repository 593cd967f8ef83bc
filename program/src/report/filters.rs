//! What the first convolution learned, as pictures.

use maud::{Markup, html};

use crate::picture::data_uri;
use signet::Result;
use signet::nn::StateDict;

/// The weights of the first layer, if that is a convolution.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filters {
    /// Height and width.
    size: [usize; 2],
    /// A filter for each pair of an output channel and an input channel, row-major.
    planes: Vec<Vec<f32>>,
    /// The largest magnitude of all.
    largest: f32,
}

/// The colours of the lowest weight, of 0 and of the highest: told apart by everyone, as they differ
/// in hue from each other and in lightness from the middle.
const SCALE: [[u8; 3]; 3] = [[179, 88, 6], [244, 243, 240], [20, 90, 160]];

impl Filters {
    /// Those in `dict`.
    pub fn of(dict: &StateDict) -> Option<Self> {
        let weight = dict.get("0.weight")?;
        let [outputs, inputs, height, width] = *weight.shape.dims() else { return None };
        let values: Vec<f32> = weight.values.to_float();
        let planes: Vec<_> =
            values.chunks_exact((height * width).max(1)).map(<[f32]>::to_vec).collect();
        let largest = values.iter().filter(|x| x.is_finite()).fold(0.0, |a: f32, x| a.max(x.abs()));
        (planes.len() == outputs * inputs).then_some(Self {
            size: [height, width],
            planes,
            largest,
        })
    }

    /// The filters, and what their colours mean.
    ///
    /// # Errors
    /// When a picture cannot be written.
    pub fn pictures(&self) -> Result<Markup> {
        let [height, width] = self.size;
        let colour = |&weight: &f32| colour(weight / self.largest);
        let pictures: Vec<String> = (self.planes.iter())
            .map(|plane| {
                let pixels: Vec<u8> = plane.iter().flat_map(colour).collect();
                data_uri([width, height], png::ColorType::Rgb, &pixels)
            })
            .collect::<Result<_>>()?;
        let columns = (1..).find(|side| side * side >= pictures.len()).unwrap_or(1);
        let css = |[r, g, b]: [u8; 3]| format!("rgb({r} {g} {b})");
        let [low, zero, high] = SCALE.map(css);
        Ok(html! {
            ul.filters style={ "--columns:" (columns) } {
                @for (number, picture) in pictures.iter().enumerate() {
                    li { img src=(picture) width="56" height="56" alt={ "Filter " (number) }; }
                }
            }
            p.range {
                span { "−" (format!("{:.2}", self.largest)) }
                span.scale aria-hidden="true"
                    style={ "background:linear-gradient(to right," (low) "," (zero) "," (high) ")" } {}
                span { "+" (format!("{:.2}", self.largest)) }
            }
        })
    }
}

/// The colour of a weight between -1 and 1: between those of [`SCALE`] in equal steps.
fn colour(weight: f32) -> [u8; 3] {
    // Grey is what is no number.
    if !weight.is_finite() {
        return [128; 3];
    }
    let [low, zero, high] = SCALE;
    let (end, share) = if weight < 0.0 { (low, -weight) } else { (high, weight) };
    let mix = |from: u8, to: u8| f32::from(from) + (f32::from(to) - f32::from(from)) * share;
    [0, 1, 2].map(|channel| mix(zero[channel], end[channel]).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::decode;
    use signet::Shape;
    use signet::nn::{Value, Values};

    fn dict(shape: &[usize], values: Vec<f32>) -> StateDict {
        let value = Value { shape: Shape::from(shape), values: Values::F32(values) };
        [("0.weight".to_owned(), value)].into_iter().collect()
    }

    #[test]
    fn a_filter_is_a_picture_whose_colours_are_its_weights() {
        let weights = vec![0.0, -0.5, 0.5, 0.25, f32::NAN, 0.0];
        let filters = Filters::of(&dict(&[1, 1, 2, 3], weights)).unwrap();
        let page = filters.pictures().unwrap().into_string();
        let uri = page.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
        let (info, pixels) = decode(uri);
        assert_eq!((info.width, info.height), (3, 2));
        let [low, zero, high] = SCALE;
        let half =
            [0, 1, 2].map(|i| ((f32::from(zero[i]) + f32::from(high[i])) / 2.0).round() as u8);
        assert_eq!(pixels, [zero, low, high, half, [128; 3], zero].concat());
        assert!(page.contains("−0.50") && page.contains("+0.50"), "{page}");
    }

    #[test]
    fn a_linear_first_layer_has_no_filters() {
        assert_eq!(Filters::of(&dict(&[2, 3], vec![0.0; 6])), None);
        assert_eq!(Filters::of(&StateDict::default()), None);
        let zeros = Filters::of(&dict(&[2, 2, 1, 1], vec![0.0; 4])).unwrap();
        assert_eq!(zeros.pictures().unwrap().into_string().matches("<img").count(), 4);
    }
}
