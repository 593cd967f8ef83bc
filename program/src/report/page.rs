//! The page: its sections in their order.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::collect::{Judged, Run};
use super::confusion::confusion;
use super::curves::curves;
use super::gallery::gallery;
use super::kernels::kernels;
use super::letters::letters;
use super::settings::settings;
use super::summary::summary;
use signet::Result;
use signet::data::are_letters;

const STYLE: &str = include_str!("style.css");

/// The page about one run or several, [`MOST_RUNS`](super::MOST_RUNS) at most.
///
/// # Errors
/// When a chart or a picture cannot be drawn.
pub fn page(runs: &[Run]) -> Result<String> {
    let names: Vec<_> = runs.iter().map(|run| run.name.as_str()).collect();
    let names = names.join(", ");
    let layout = if runs.len() == 1 { "one" } else { "several" };
    let mut filters = Vec::new();
    for run in runs {
        filters.push(run.filters.as_ref().map(|filters| filters.pictures()).transpose()?);
    }
    // Runs of other labels speak of classes, and so does a page that has any of them.
    let (noun, title) = if runs.iter().all(|run| are_letters(&run.record.classes)) {
        ("letter", "Letters")
    } else {
        ("class", "Classes")
    };
    let about_rows = format!(
        "A row is a {noun}, a column what its images were taken for. Blue is recognised, orange is \
         taken for another; empty is no image."
    );
    let about_shares = format!(
        "Precision: of the images taken for a {noun}, the share that is it. Recall: of a {noun}'s \
         images, the share that was recognised; the bar shows it."
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (names) " – Signet" }
                style { (PreEscaped(STYLE)) }
            }
            body class=(layout) {
                header {
                    p.overline { "Signet training report" }
                    h1 { (names) }
                    ul.origins { @for run in runs { li { (origin(run, runs.len() > 1)) } } }
                    @if runs.windows(2).any(|two| two[0].record.data_sha256 != two[1].record.data_sha256) {
                        p.remark {
                            "These runs learned from different data and were measured on different images: "
                            "where their figures differ, it may be for that alone."
                        }
                    }
                }
                main {
                    (section("Summary", "wide", None, per_run(runs, |_, run| summary(run))))
                    (section("Curves", "wide", None, curves(runs)?))
                    (section("Confusion", "wide roomy", Some(&about_rows), judged(runs, |run, judged| {
                        let caption = format!("Confusion matrix of {}", run.name);
                        confusion(judged, &run.record.classes, &caption)
                    })))
                    (section(title, "", Some(&about_shares), judged(runs, |run, judged| {
                        let caption = format!("Precision and recall of {}", run.name);
                        letters(judged, &run.record.classes, &caption)
                    })))
                    div.beside {
                        (section("Worst mistakes", "", Some(
                            "What the image shows → what it was taken for, and the probability p that \
                             the model gave the truth."
                        ), judged(runs, |run, judged| gallery(judged, &run.record.classes))))
                        (section("First filters", "", Some(
                            "The weights of the first convolution, a picture for each filter."
                        ), per_run(runs, |number, _| match &filters[number] {
                            Some(pictures) => pictures.clone(),
                            None => html! { p { "No model was found." } },
                        })))
                    }
                    @if runs.iter().any(|run| !run.kernels.is_empty()) {
                        (section("Time of each kernel", "wide", None, per_run(runs, |_, run| {
                            if run.kernels.is_empty() {
                                return html! { p { "This run was not profiled (" code { "--profile" } ")." } };
                            }
                            kernels(&run.kernels, &format!("Time of each kernel of {}", run.name))
                        })))
                    }
                    (section("Settings", "wide", None, settings(runs)))
                }
                footer { p { "Signet " (env!("CARGO_PKG_VERSION")) } }
            }
        }
    };
    Ok(page.into_string())
}

/// When, where and on what a run was trained.
fn origin(run: &Run, named: bool) -> Markup {
    html! {
        @if named { b { (run.name) } " · " }
        @if let Some(written) = run.written {
            time datetime=(written) { (written.strftime("%-d %B %Y, %H:%M UTC")) }
            " · "
        }
        (run.record.device) " · " (run.record.data_source)
        @if run.record.synthetic { " · drawn, so not the accuracy on photographs" }
    }
}

fn section(title: &str, class: &str, words: Option<&str>, content: Markup) -> Markup {
    html! {
        section class=(class) {
            h2 { (title) }
            @if let Some(words) = words { p.soft { (words) } }
            (content)
        }
    }
}

/// A part of each run, side by side.
fn per_run(runs: &[Run], part: impl Fn(usize, &Run) -> Markup) -> Markup {
    html! {
        div.runs {
            @for (number, run) in runs.iter().enumerate() {
                article {
                    @if runs.len() > 1 { h3 class={ "run-" (number) } { (run.name) } }
                    (part(number, run))
                }
            }
        }
    }
}

/// The same of what only a measured model shows.
fn judged(runs: &[Run], part: impl Fn(&Run, &Judged) -> Markup) -> Markup {
    per_run(runs, |_, run| match &run.judged {
        Ok(judged) => part(run, judged),
        Err(why) => html! { p.missing { "Not shown: " (why) "." } },
    })
}
