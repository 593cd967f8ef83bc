//! The page's files, which are in the program itself: it works without a network.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;

/// A file of `page/`: its path, its type, its text.
macro_rules! file {
    ($path:literal, $name:literal, $kind:literal) => {
        ($path, $kind, include_str!(concat!("page/", $name)))
    };
}

const FILES: [(&str, &str, &str); 9] = [
    file!("/", "index.html", "text/html; charset=utf-8"),
    file!("/style.css", "style.css", "text/css; charset=utf-8"),
    file!("/icon.svg", "icon.svg", "image/svg+xml"),
    file!("/main.js", "main.js", "text/javascript; charset=utf-8"),
    file!("/about.js", "about.js", "text/javascript; charset=utf-8"),
    file!("/camera.js", "camera.js", "text/javascript; charset=utf-8"),
    file!("/server.js", "server.js", "text/javascript; charset=utf-8"),
    file!("/word.js", "word.js", "text/javascript; charset=utf-8"),
    file!("/view.js", "view.js", "text/javascript; charset=utf-8"),
];

pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        router.route(path, get(move || async move { ([(CONTENT_TYPE, kind)], text) }))
    })
}
