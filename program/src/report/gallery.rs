//! The worst mistakes, each with its image.

use maud::{Markup, html};

use super::collect::Judged;
use super::words;
use crate::picture::data_uri;
use signet::Result;
use signet::data::Dataset;
use signet::metrics::Mistake;

/// A mistake and its image.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shown {
    mistake: Mistake,
    /// The file that it is, where it is one.
    file: Option<String>,
    /// The address that holds the image.
    image: String,
}

impl Shown {
    /// Of images with several channels, the first is shown.
    pub fn new(mistake: &Mistake, file: Option<String>, dataset: &Dataset) -> Result<Self> {
        let (width, height) = (dataset.width, dataset.height);
        let pixels = &dataset.image(mistake.index)[..width * height];
        let image = data_uri([width, height], png::ColorType::Grayscale, pixels)?;
        Ok(Self { mistake: *mistake, file, image })
    }
}

/// The gallery of a run.
pub(super) fn gallery(judged: &Judged, classes: &[String]) -> Markup {
    if judged.gallery.is_empty() {
        return html! {
            @if judged.images == 1 { p { "None: the one validation image was recognised." } }
            @else {
                p { "None: all " (words::count(judged.images as u64)) " validation images were recognised." }
            }
        };
    }
    html! {
        ul.gallery {
            @for Shown { mistake, file, image } in &judged.gallery {
                @let (truth, guess) = (&classes[mistake.truth], &classes[mistake.guess]);
                li {
                    img src=(image) width="84" height="84"
                        alt={
                            @match file {
                                Some(file) => (file),
                                None => { "Validation image " (mistake.index) }
                            }
                            ": " (truth) ", taken for " (guess)
                        };
                    span.verdict aria-hidden="true" {
                        b { (truth) } span.arrow { " → " } b.wrong { (guess) }
                    }
                    small { "p = " (words::probability(mistake.probability)) }
                    @if let Some(file) = file {
                        // A name breaks behind its folders, and within a word only where it must.
                        small { @for part in file.split_inclusive('/') { (part) wbr; } }
                    }
                }
            }
        }
    }
}
