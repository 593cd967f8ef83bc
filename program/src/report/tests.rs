//! Pages, read as a browser reads them.

use scraper::{ElementRef, Html, Selector};

use super::collect::{Judged, Run};
use super::{kernels, page};
use crate::picture::decode;
use crate::runs::RunFolder;
use crate::runs::samples::{self, epoch, epochs};
use signet::data::{Dataset, synthetic};
use signet::device::KernelTime;
use signet::train::{EpochMetrics, Evaluation, Measured};

/// A run of so many epochs as it is read from its folder.
fn run(name: &str, classes: &[String], history: &[EpochMetrics]) -> Run {
    let parent = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(parent.path(), Some("run")).unwrap();
    let record = samples::record(classes);
    folder.write_record(&record).unwrap();
    let lines = history.iter().map(|metrics| serde_json::to_string(metrics).unwrap() + "\n");
    std::fs::write(folder.metrics_file(), lines.collect::<String>()).unwrap();
    let times = ["conv_block_convolve", "adam"].map(|name| KernelTime {
        name,
        calls: 4,
        total: std::time::Duration::from_millis(if name == "adam" { 10 } else { 30 }),
    });
    kernels::write(&folder, &times).unwrap();
    let mut run = Run::read(folder.path()).unwrap();
    run.rename(name);
    run
}

/// The same, measured: the first image of each class is taken for the class after it.
fn measured(name: &str, history: &[EpochMetrics]) -> (Run, Dataset) {
    let valid = synthetic(0, 0, 48).valid;
    let mut run = run(name, &valid.classes, history);
    let truth = |image: usize| usize::from(valid.labels[image]);
    let predicted = (0..48).map(|i| if i < 24 { (truth(i) + 1) % 24 } else { truth(i) }).collect();
    let losses = (0..48).map(|i| if i < 24 { 1.0 + i as f64 / 10.0 } else { 0.01 }).collect();
    let measured = Measured { loss: 1.0, accuracy: 0.5 };
    let evaluation = Evaluation { measured, predicted, losses };
    run.judged = Ok(Judged::new(&valid, &[], &evaluation, [10, 2]).unwrap());
    (run, valid)
}

/// The page, once it is known to be valid HTML that needs nothing from elsewhere.
fn read(runs: &[Run]) -> Html {
    let text = page(runs).unwrap();
    let html = Html::parse_document(&text);
    assert_eq!(html.errors, Vec::<std::borrow::Cow<str>>::new());
    for tag in ["script", "link", "iframe", "object", "embed", "base", "form"] {
        assert!(all(&html, tag).is_empty(), "{tag}");
    }
    for element in all(&html, "*") {
        for (name, value) in element.value().attrs() {
            assert!(!name.starts_with("on"), "{name}={value}");
            let foreign = ["href", "src", "srcset", "data", "action", "xlink:href"].contains(&name);
            assert!(!foreign || value.starts_with("data:image/png;base64,"), "{name}={value}");
        }
    }
    // Base 64 has slashes of its own, but no colon before them.
    for elsewhere in ["://", "url(", "@import"] {
        assert!(!text.contains(elsewhere), "{elsewhere}");
    }
    let ids: Vec<_> = all(&html, "[id]").iter().map(|e| e.attr("id").unwrap().to_owned()).collect();
    for element in all(&html, "[aria-labelledby], [aria-describedby]") {
        for name in ["aria-labelledby", "aria-describedby"] {
            let id = element.attr(name).unwrap();
            assert_eq!(ids.iter().filter(|known| *known == id).count(), 1, "{id}");
        }
    }
    html
}

fn all<'a>(html: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    html.select(&Selector::parse(selector).unwrap()).collect()
}

fn texts(html: &Html, selector: &str) -> Vec<String> {
    all(html, selector).iter().map(|element| element.text().collect()).collect()
}

#[test]
fn a_page_tells_what_a_run_achieved() {
    let (run, valid) = measured("asl-1", &epochs(3));
    let html = read(&[run]);
    assert_eq!(texts(&html, "head title"), ["asl-1 – Signet"]);
    assert_eq!(texts(&html, "h1"), ["asl-1"]);
    let headings = texts(&html, "h2");
    assert_eq!(
        headings,
        [
            "Summary",
            "Curves",
            "Confusion",
            "Letters",
            "Worst mistakes",
            "First filters",
            "Time of each kernel",
            "Settings"
        ]
    );
    assert_eq!(texts(&html, ".figure strong"), ["0.8333"]);
    let facts: Vec<_> = texts(&html, "dt").into_iter().zip(texts(&html, "dd")).collect();
    for (name, value) in [
        ("Best epoch, 2", "0.8333, mean loss 0.6667"),
        ("Lowest accuracy, last 3", "0.5000"),
        ("Highest mean loss", "2.0000 in epoch 0"),
        ("Mistakes", "24 of 48 images"),
        ("Epochs", "3 of 20 in 7.5 s"),
    ] {
        assert!(facts.contains(&(name.to_owned(), value.to_owned())), "{name}: {facts:?}");
    }
    // What is of the validation, of the best model and of the training is told apart.
    let groups =
        ["Validation after each epoch", "The best model on the validation images", "Training"];
    assert_eq!(texts(&html, ".facts p"), groups);
    let worst = format!("loss 3.3000, {} → {}", valid.class_name(23), next(&valid, 23));
    assert!(facts.contains(&("Worst image".to_owned(), worst)), "{facts:?}");
    assert!(texts(&html, ".origins")[0].contains("not the accuracy on photographs"));
}

/// The class that image `index` was taken for.
fn next(valid: &Dataset, index: usize) -> &str {
    &valid.classes[(usize::from(valid.labels[index]) + 1) % 24]
}

#[test]
fn rows_of_the_matrix_are_letters_and_columns_guesses() {
    let (run, valid) = measured("asl-1", &epochs(1));
    let confusion = run.judged.as_ref().unwrap().confusion.clone();
    let html = read(&[run]);
    let rows = all(&html, ".confusion tbody tr");
    assert_eq!(rows.len(), 24);
    for (truth, row) in rows.iter().enumerate() {
        let cells: Vec<_> = row.select(&Selector::parse("th, td").unwrap()).collect();
        assert_eq!(cells[0].text().collect::<String>(), valid.classes[truth]);
        for guess in 0..24 {
            let cell = cells[1 + guess];
            let count = confusion.count(truth, guess);
            let text: String = cell.text().collect();
            assert_eq!(text, if count == 0 { String::new() } else { count.to_string() });
            let class = (count > 0).then_some(if truth == guess { "right" } else { "wrong" });
            assert_eq!(cell.attr("class"), class, "{truth} {guess}");
        }
    }
    let recall = texts(&html, ".letters tbody tr:first-child td.number");
    let share = |share: Option<f64>| format!("{:.4}", share.unwrap());
    let (precision, its_recall) = (confusion.precision(0), confusion.recall(0));
    assert_eq!(recall[1..], [share(precision), share(its_recall)]);
}

#[test]
fn the_gallery_shows_the_images_that_were_taken_for_others() {
    let (run, valid) = measured("asl-1", &epochs(1));
    let html = read(&[run]);
    let images = all(&html, ".gallery img");
    assert_eq!(images.len(), 24);
    // The losses grow with the number of the image.
    for (place, image) in images.iter().enumerate() {
        let index = 23 - place;
        let (truth, guess) = (valid.class_name(index), next(&valid, index));
        let words = format!("Validation image {index}: {truth}, taken for {guess}");
        assert_eq!(image.attr("alt"), Some(&*words));
        assert_eq!(decode(image.attr("src").unwrap()).1, valid.image(index));
    }
    assert_eq!(texts(&html, ".gallery small")[0], "p = 0.0369", "exp(-3.3)");
}

#[test]
fn names_are_text_whatever_they_hold() {
    let evil = "<script>alert(1)</script>";
    let (mut run, _) = measured(evil, &epochs(2));
    let class = "\"><img src=x onerror=alert(1)>&amp;";
    run.record.classes[0] = class.to_owned();
    run.record.data_source = "</style><b>".to_owned();
    let other = measured("</title></svg>", &epochs(2)).0;
    let html = read(&[run, other]);
    assert_eq!(texts(&html, "h1"), [format!("{evil}, </title></svg>")]);
    assert_eq!(texts(&html, ".confusion tbody th")[0], class);
    assert!(texts(&html, "desc")[0].contains(evil));
    assert!(texts(&html, ".origins li")[0].contains("</style><b>"));
}

#[test]
fn the_table_holds_the_numbers_of_each_epoch() {
    let html = read(&[measured("asl-1", &epochs(200)).0]);
    let rows = all(&html, ".epochs tbody tr");
    assert_eq!(rows.len(), 200);
    let cells: Vec<String> = rows[1]
        .select(&Selector::parse("th, td").unwrap())
        .map(|cell| cell.text().collect())
        .collect();
    assert_eq!(cells, ["1", "1.0000", "0.8000", "1.0000", "0.7500", "0.001", "2.5 s"]);
}

/// Every loss of a page is a mean, if it can be known; the record says how many images there were.
#[test]
fn curves_show_the_mean_loss_where_the_number_of_batches_is_known() {
    let (mut run, _) = measured("asl-1", &epochs(2));
    let html = read(&[run.clone()]);
    let text = &texts(&html, "desc")[0];
    assert!(text.contains("training: 2.0000 in epoch 0, 1.0000 in epoch 1"), "{text}");
    assert!(text.contains("validation: 2.0000 in epoch 0, 1.0000 in epoch 1"), "{text}");
    run.without("the data is gone");
    let html = read(&[run.clone()]);
    let text = &texts(&html, "desc")[0];
    assert!(text.contains("training: 20.0000 in epoch 0, 10.0000 in epoch 1"), "{text}");
    assert!(texts(&html, "figcaption")[0].starts_with("Loss, summed over batches"));
    run.record.images = Some([320, 64]);
    let text = &texts(&read(&[run.clone()]), "desc")[0];
    assert!(text.contains("training: 2.0000 in epoch 0, 1.0000 in epoch 1"), "{text}");
    run.record.images = None;
    let html = read(&[run]);
    let missing = "Not shown: the data is gone.";
    assert_eq!(texts(&html, ".missing"), [missing, missing, missing]);
    assert!(all(&html, ".gallery, .confusion, .letters").is_empty());
}

#[test]
fn odd_runs_have_pages_too() {
    let classes = signet::data::letters();
    let html = read(&[run("none", &classes, &[])]);
    assert_eq!(
        texts(&html, "section p")[0],
        "No epoch of this run has finished yet; signet train --resume goes on with it."
    );
    assert_eq!(all(&html, "polyline.valid").len(), 0);

    let html = read(&[run("one", &classes, &epochs(1))]);
    let points = all(&html, "svg.chart > circle.valid:not(.mark)").len();
    assert_eq!(points, 2, "a point in both charts");

    let nan = EpochMetrics { valid_loss: f64::NAN, train_loss: f64::INFINITY, ..epoch(1) };
    let html = read(&[run("nan", &classes, &[epoch(0), nan, epoch(2), epoch(3)])]);
    assert!(texts(&html, "dd").contains(&"not a number in epoch 1".to_owned()));
    assert!(texts(&html, ".epochs td").contains(&"not a number".to_owned()));

    let zero = EpochMetrics { valid_loss: 0.0, valid_accuracy: 1.0, ..epoch(0) };
    read(&[run("zero", &classes, &[zero])]);
    let all_nan = EpochMetrics { valid_loss: f64::NAN, train_loss: f64::NAN, ..epoch(0) };
    read(&[run("all nan", &classes, &[all_nan])]);
}

#[test]
fn several_runs_stand_side_by_side() {
    let (mut first, _) = measured("first", &epochs(4));
    let (mut second, _) = measured("second", &epochs(2));
    first.record.config.seed = 1;
    second.record.config.seed = 2;
    let html = read(&[first, second]);
    assert_eq!(texts(&html, "h1"), ["first, second"]);
    assert_eq!(texts(&html, ".settings .differs"), ["--seed12"]);
    assert_eq!(texts(&html, ".settings thead th"), ["first", "second"]);
    // What is the same in both is said once.
    let same = texts(&html, "details .settings tr");
    assert!(same.contains(&"--batch-size32".to_owned()), "{same:?}");
    assert!(!same.iter().any(|row| row.starts_with("--seed")), "{same:?}");
    // With adam and a rate that stays, these do nothing.
    for name in ["--momentum", "--step-size", "--gamma", "--warmup"] {
        assert!(!same.iter().any(|row| row.starts_with(name)), "{same:?}");
    }
    assert!(!same.iter().any(|row| row.contains('_')), "no internal names: {same:?}");
    for section in [".figure", ".confusion", ".letters", "article > .gallery", ".kernels"] {
        assert_eq!(all(&html, section).len(), 2, "{section}");
    }
    for line in ["train.run-0", "valid.run-0", "train.run-1", "valid.run-1"] {
        assert_eq!(all(&html, &format!("polyline.{line}")).len(), 2, "{line}");
    }
    assert_eq!(all(&html, ".epochs tbody tr").len(), 4);
}

#[test]
fn kernels_have_their_share_of_the_time() {
    let html = read(&[measured("asl-1", &epochs(1)).0]);
    assert_eq!(texts(&html, ".kernels tbody tr")[0], "conv_block_convolve40.030 s7500.0 µs75.0 %");
    let mut without = measured("asl-1", &epochs(1)).0;
    without.kernels.clear();
    assert!(all(&read(&[without]), ".kernels").is_empty());
}

#[test]
fn other_labels_are_called_classes_and_few_of_them_have_room() {
    let (mut run, _) = measured("pets", &epochs(2));
    let letters = read(&[run.clone()]);
    assert!(texts(&letters, "h2").contains(&"Letters".to_owned()));
    assert!(all(&letters, ".confusion.few").is_empty());
    run.record.classes[0] = "cat".to_owned();
    let html = read(&[run.clone()]);
    assert!(texts(&html, "h2").contains(&"Classes".to_owned()));
    assert!(!texts(&html, "main").concat().contains("etter"), "{:?}", texts(&html, "p.soft"));

    let valid = Dataset {
        pixels: vec![0; 3 * 784],
        labels: vec![0, 1, 1],
        classes: vec!["cat".to_owned(), "dog".to_owned()],
        ..synthetic(0, 0, 1).valid
    };
    let measured = Measured { loss: 1.0, accuracy: 2.0 / 3.0 };
    let evaluation = Evaluation { measured, predicted: vec![0, 1, 0], losses: vec![0.1, 0.1, 2.0] };
    run.record.classes.clone_from(&valid.classes);
    run.judged = Ok(Judged::new(&valid, &[], &evaluation, [1, 1]).unwrap());
    let html = read(&[run]);
    assert_eq!(texts(&html, ".confusion.few tbody tr"), ["cat1100.0 %", "dog150.0 %150.0 %"]);
    assert_eq!(texts(&html, ".letters thead th")[0], "Class");
}

#[test]
fn curves_end_at_the_last_epoch_and_can_be_read() {
    let mut history = epochs(20);
    history.iter_mut().for_each(|epoch| epoch.lr = 2e-3 * 0.5f64.powf(epoch.epoch as f64));
    let html = read(&[measured("asl-1", &history).0]);
    let ids: Vec<_> =
        all(&html, "svg.chart > title").iter().map(|title| title.attr("id")).collect();
    assert_eq!(ids, [Some("loss-title"), Some("accuracy-title"), Some("rate-title")]);
    for chart in all(&html, "svg.chart") {
        let labels = Selector::parse("text.label").unwrap();
        let labels: Vec<String> = chart.select(&labels).map(|text| text.text().collect()).collect();
        let labels: Vec<_> = labels.iter().map(|label| label.trim()).collect();
        assert!(labels.contains(&"19") && !labels.contains(&"20"), "{labels:?}");
    }
    let readings = texts(&html, ".at title");
    assert_eq!(readings.len(), 60);
    assert_eq!(readings[1], "Epoch 1\ntraining: 1.0000\nvalidation: 1.0000");
    assert_eq!(readings[20 + 19], "Epoch 19\ntraining: 0.9800\nvalidation: 0.9750");
    assert_eq!(readings[40 + 1], "Epoch 1\nlearning rate: 0.001");
    // A rate that stays the same needs no chart.
    let html = read(&[measured("asl-1", &epochs(3)).0]);
    assert_eq!(all(&html, "svg.chart").len(), 2);
    assert!(texts(&html, "p.soft").concat().contains("The learning rate is 0.001 in every epoch."));
}

/// Whoever prints a page, or has no mouse, reads the values too.
#[test]
fn the_last_and_the_best_value_stand_on_the_curves() {
    let mut history = epochs(4);
    history[3].valid_accuracy = 0.7;
    let html = read(&[measured("asl-1", &history).0]);
    let of = |title: &str| {
        let charts = all(&html, "figure");
        let chart = charts.iter().find(|chart| chart.text().collect::<String>().starts_with(title));
        let values = Selector::parse("text.value").unwrap();
        let values = chart.unwrap().select(&values);
        let class = |value: ElementRef<'_>| value.attr("class").unwrap().replace("value ", "");
        values
            .map(|value| format!("{}: {}", class(value), value.text().collect::<String>()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of("Mean loss"),
        ["train run-0: 0.5000", "valid run-0: 0.5000"],
        "the best epoch has not the least loss"
    );
    assert_eq!(
        of("Accuracy"),
        ["train run-0: 0.9000", "valid run-0: 0.7000", "valid run-0: best 0.8333"]
    );
    // Values at one place keep off each other.
    let heights: Vec<i32> = all(&html, "text.value")
        .iter()
        .map(|value| value.attr("y").unwrap().parse().unwrap())
        .collect();
    assert!((heights[1] - heights[0]).abs() >= 48, "{heights:?}");

    // The best is the last: once is enough. Of several runs, each has its last values.
    let one = measured("asl-1", &epochs(4)).0;
    assert_eq!(all(&read(std::slice::from_ref(&one)), "text.value").len(), 4);
    let two = read(&[one, measured("asl-2", &history).0]);
    assert_eq!(all(&two, "text.value").len(), 8);
    // Of these, one lies on the other until they part.
    let legend = |runs: &[Run]| texts(&read(runs), ".legend").concat();
    assert!(!legend(&[measured("a", &epochs(4)).0, measured("b", &history).0]).contains("lie on"));
    let shorter = [measured("a", &epochs(4)).0, measured("b", &epochs(2)).0];
    assert!(legend(&shorter).contains("b (its curves lie on those of a)"));
    // What is no number has no place.
    let nan = EpochMetrics { valid_loss: f64::NAN, train_loss: f64::NAN, ..epoch(1) };
    assert_eq!(all(&read(&[measured("nan", &[epoch(0), nan]).0]), "text.value").len(), 2);
}

/// A run that is shorter than another ends amid the other's lines.
#[test]
fn values_on_a_chart_cover_no_line() {
    let mut short = epochs(5);
    for epoch in &mut short {
        epoch.valid_loss *= 1.1;
        epoch.valid_accuracy *= 0.99;
        epoch.lr = 1e-3 / (epoch.epoch + 1) as f64;
    }
    let runs = [measured("long", &epochs(20)).0, measured("short", &short).0];
    let html = read(&runs);
    let number = |text: &str| text.parse::<f64>().unwrap();
    let selector = |text: &str| Selector::parse(text).unwrap();
    for chart in all(&html, "svg.chart") {
        for value in chart.select(&selector("text.value")) {
            let [x, y] = ["x", "y"].map(|name| number(value.attr(name).unwrap()));
            let width = 24.0 * value.text().collect::<String>().chars().count() as f64;
            let left = match value.attr("text-anchor") {
                Some("end") => x - width,
                Some("middle") => x - width / 2.0,
                _ => x,
            };
            for line in chart.select(&selector("polyline:not(.grid)")) {
                let points: Vec<[f64; 2]> = (line.attr("points").unwrap().split_whitespace())
                    .map(|point| point.split_once(',').unwrap())
                    .map(|(x, y)| [number(x), number(y)])
                    .collect();
                for pair in points.windows(2) {
                    for step in 0..=50 {
                        let at = |i: usize| {
                            pair[0][i] + (pair[1][i] - pair[0][i]) * f64::from(step) / 50.0
                        };
                        let inside = at(0) > left && at(0) < left + width;
                        assert!(!inside || (at(1) - y).abs() > 20.0, "{}", value.html());
                    }
                }
            }
        }
    }
}

#[test]
fn an_axis_of_epochs_has_the_last_epoch_however_many_there_are() {
    for count in (1..=64).chain([99, 100, 101, 250, 1000]) {
        let html = read(&[run("asl-1", &signet::data::letters(), &epochs(count))]);
        for chart in all(&html, "svg.chart") {
            // Those below it.
            let labels = Selector::parse("text.label[text-anchor=middle]").unwrap();
            let labels = chart.select(&labels).map(|text| text.text().collect::<String>());
            let labels: Vec<String> = labels.map(|label| label.trim().to_owned()).collect();
            let last = (count - 1).to_string();
            assert!(
                labels.contains(&last) && labels.contains(&"0".to_owned()),
                "{count}: {labels:?}"
            );
            assert!(!labels.contains(&count.to_string()), "{count}: {labels:?}");
        }
    }
}

/// A rate is set once for an epoch: between two of them is no slope.
#[test]
fn a_learning_rate_is_drawn_in_steps() {
    let mut history = epochs(4);
    history[2].lr = 1e-4;
    history[3].lr = 1e-4;
    let html = read(&[measured("asl-1", &history).0]);
    let line = all(&html, "polyline.rate")[0].attr("points").unwrap().to_owned();
    let points: Vec<Vec<i32>> = line
        .split_whitespace()
        .map(|point| point.split(',').map(|number| number.parse().unwrap()).collect())
        .collect();
    assert!(
        points.windows(2).all(|pair| pair[0][0] == pair[1][0] || pair[0][1] == pair[1][1]),
        "{line}"
    );
    assert!(points.first().unwrap()[1] < points.last().unwrap()[1], "and it falls: {line}");
}

#[test]
fn runs_on_different_data_are_marked() {
    let (first, mut second) = (measured("first", &epochs(2)).0, measured("second", &epochs(2)).0);
    assert!(all(&read(&[first.clone(), second.clone()]), "header .remark").is_empty());
    second.record.data_sha256 = "1".to_owned();
    let html = read(&[first, second]);
    assert!(
        texts(&html, "header .remark")[0].starts_with("These runs learned from different data")
    );
}

#[test]
fn a_run_that_diverged_has_a_remark() {
    let (mut run, _) = measured("asl-1", &epochs(2));
    assert!(all(&read(&[run.clone()]), ".remark").is_empty());
    run.record.config.lr = 3.0;
    run.history[1].train_loss = 10.0 * 45.25;
    let html = read(&[run.clone()]);
    assert_eq!(
        texts(&html, ".remark"),
        ["Remark: the mean training loss of epoch 1 is 45.2500, where guessing has 3.1781: the \
          learning rate 3 is too large; try --lr 0.001."]
    );
    run.history[1].train_loss = f64::NAN;
    assert!(texts(&read(&[run]), ".remark")[0].contains("epoch 1 is not a number, where"));
}

#[test]
fn images_that_are_files_are_called_by_their_names() {
    let (mut run, valid) = measured("asl-1", &epochs(1));
    let files: Vec<_> = (0..48).map(|i| format!("hands/{i} <b>.png").into()).collect();
    let measured = Measured { loss: 1.0, accuracy: 0.5 };
    let losses = (0..48).map(|i| f64::from(i) / 10.0).collect();
    let evaluation = Evaluation { measured, predicted: vec![23; 48], losses };
    run.judged = Ok(Judged::new(&valid, &files, &evaluation, [10, 2]).unwrap());
    let html = read(&[run]);
    assert!(texts(&html, "dd small")[0].starts_with("hands/47 <b>.png"));
    // The last image is of the class that all are taken for.
    let first = &all(&html, ".gallery li")[0];
    let image = first.select(&Selector::parse("img").unwrap()).next().unwrap();
    let words = format!("hands/46 <b>.png: {}, taken for Y", valid.class_name(46));
    assert_eq!(image.attr("alt"), Some(&*words));
    assert!(first.text().collect::<String>().ends_with("hands/46 <b>.png"));
}
