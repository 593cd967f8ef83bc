//! `GET /model` and `GET /hands/A.png`: what the model is, and what the letters look like.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::failure::Failure;
use crate::picture::png;
use signet::data::{are_letters, hand_shape, letters};

/// Pixels of a drawn hand across and down.
const SIDE: usize = 168;

/// What the page says of the model; as JSON it is what `GET /model` answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct About {
    /// What people call it: the name of its run or its file.
    pub name: String,
    /// The names of its classes.
    pub classes: Vec<String>,
    /// Whether these are letters of the alphabet.
    pub letters: bool,
    /// What it learned from, where that is known.
    pub data: Option<String>,
    /// Whether that is drawn hands alone: then it never saw a photograph.
    pub synthetic: bool,
}

impl About {
    /// A model called `name` with these classes.
    pub fn new(name: impl Into<String>, classes: &[String]) -> Self {
        let (name, letters) = (name.into(), are_letters(classes));
        Self { name, classes: classes.to_vec(), letters, ..Self::default() }
    }
}

pub(super) fn routes<S: Clone + Send + Sync + 'static>(about: About) -> Router<S> {
    let has_hands = about.letters;
    let about = Arc::new(about);
    let hand = move |Path(name): Path<String>| async move {
        let drawn = if has_hands { hand(&name) } else { None };
        drawn.ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "there is nothing here"))
    };
    Router::new()
        .route("/model", get(move || async move { Json(About::clone(&about)) }))
        .route("/hands/{name}", get(hand))
}

/// The drawing called `A.png`.
fn hand(name: &str) -> Option<Response> {
    let letter = name.strip_suffix(".png")?;
    let class = letters().iter().position(|known| known == letter)?;
    let pixels = hand_shape(class, SIDE)?;
    let picture = png([SIDE, SIDE], png::ColorType::Grayscale, &pixels).ok()?;
    Some(([(header::CONTENT_TYPE, "image/png")], picture).into_response())
}
