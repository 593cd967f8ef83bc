//! `signet report`, and the page that `signet train` leaves, as a user meets them.

use crate::common;

use std::fs;
use std::path::Path;
use std::process::Output;

use scraper::{Html, Selector};

use common::program::{Place, run, stderr, stdout};

/// The page at `path`, once it is known to need nothing from elsewhere.
#[track_caller]
fn read(path: &Path) -> Html {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    for elsewhere in ["http://", "https://", "<script", "<link", "@import", "url("] {
        assert!(!text.contains(elsewhere), "{elsewhere}");
    }
    for source in text.split("src=\"").skip(1) {
        assert!(source.starts_with("data:image/png;base64,"), "{}", &source[..40]);
    }
    let html = Html::parse_document(&text);
    assert_eq!(html.errors, Vec::<std::borrow::Cow<str>>::new());
    html
}

fn texts(html: &Html, selector: &str) -> Vec<String> {
    let selector = Selector::parse(selector).unwrap();
    html.select(&selector).map(|element| element.text().collect()).collect()
}

/// That it was refused as wrong use or an error, with one line that says `message`.
#[track_caller]
fn refused(output: &Output, message: &str) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.lines().any(|line| line.starts_with("error: ") && line.contains(message)),
        "{text}"
    );
    assert_eq!(stdout(output), "");
}

/// `report` with its arguments, on the CPU.
fn report(args: &[&str]) -> Output {
    run(&[&["report", "--device", "cpu"], args].concat())
}

#[test]
fn a_training_leaves_a_page_about_itself() {
    let place = Place::new(200, 50);
    let output = run(&place.train("a", &["--epochs", "2", "--profile"]));
    place.check_run("a", 2, &output);
    let path = place.run_folder("a").join("report.html");
    assert!(stderr(&output).contains(&format!("report: {}\n", path.display())));
    let html = read(&path);
    assert_eq!(texts(&html, "h1"), ["a"]);
    let best = stdout(&output).lines().find(|line| line.starts_with("best: ")).unwrap().to_owned();
    let accuracy = &texts(&html, ".figure strong")[0];
    assert!(best.contains(&format!("accuracy {accuracy} in")), "{best}: {accuracy}");
    assert_eq!(texts(&html, ".confusion tbody tr").len(), 24);
    assert_eq!(texts(&html, ".epochs tbody tr").len(), 2);
    assert_eq!(texts(&html, ".filters li").len(), 25);
    assert!(texts(&html, ".kernels th code").contains(&"conv_block_convolve".to_owned()));

    // The matrix and the best accuracy are of the same model on the same images.
    let counts = |selector: &str| -> usize {
        texts(&html, selector).iter().map(|count| count.parse::<usize>().unwrap()).sum()
    };
    let right = counts(".confusion .right");
    assert_eq!(right + counts(".confusion .wrong"), 50);
    assert_eq!(format!("{:.4}", right as f64 / 50.0), *accuracy);
    // Made again, it is the same.
    let before = fs::read(&path).unwrap();
    let folder = place.run_folder("a");
    let again = report(&[folder.to_str().unwrap()]);
    assert_eq!(stdout(&again), format!("report: {}\n", path.display()));
    assert!(fs::read(&path).unwrap() == before, "another page: {}", stderr(&again));
}

#[test]
fn several_runs_make_one_page() {
    let place = Place::new(80, 30);
    for (name, seed) in [("a", "1"), ("b", "2")] {
        let output = run(&place.train(name, &["--epochs", "1", "--seed", seed, "-q"]));
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let [a, b] = ["a", "b"].map(|name| place.run_folder(name));
    let out = place.out.path().join("both.html");
    let [a, b, out_text] = [&a, &b, &out].map(|path| path.to_str().unwrap());
    let output = report(&[a, b, "--out", out_text]);
    assert!(output.status.success(), "{}", stderr(&output));
    let html = read(&out);
    assert_eq!(texts(&html, "h1"), ["a, b"]);
    assert_eq!(texts(&html, ".settings .differs"), ["--seed12"]);
    assert_eq!(texts(&html, "table.confusion").len(), 2);

    // The same run twice: then the paths tell them apart.
    let twice = report(&[a, a, "--out", out_text]);
    assert!(twice.status.success(), "{}", stderr(&twice));
    assert_eq!(texts(&read(&out), "h1"), [format!("{a}, {a}")]);

    refused(
        &report(&[&[a; 9][..], &["--out", out_text]].concat()),
        "at most 8 fit one page, got 9",
    );
}

#[test]
fn without_the_data_a_page_says_what_it_leaves_out() {
    let place = Place::new(80, 30);
    assert!(run(&place.train("a", &["--epochs", "1", "-q"])).status.success());
    let folder = place.run_folder("a");
    let a = folder.to_str().unwrap();
    let data = place.data.path().join("sign_mnist_valid.csv");
    let moved = tempfile::tempdir().unwrap();
    for file in ["sign_mnist_train.csv", "sign_mnist_valid.csv"] {
        fs::copy(place.data.path().join(file), moved.path().join(file)).unwrap();
    }
    fs::remove_file(data).unwrap();

    let output = report(&[a]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("notice: the report says nothing of the mistakes of a: "));
    let html = read(&folder.join("report.html"));
    assert!(texts(&html, ".missing")[0].contains("there is no sign_mnist_valid.csv"));
    assert_eq!(texts(&html, "table.confusion").len(), 0);
    assert_eq!(texts(&html, ".filters li").len(), 25, "these need no data");

    let output = report(&[a, "--data", moved.path().to_str().unwrap()]);
    assert!(output.status.success() && stderr(&output).is_empty(), "{}", stderr(&output));
    assert_eq!(texts(&read(&folder.join("report.html")), "table.confusion").len(), 1);

    let other = Place::new(20, 10);
    let other = other.data.path().to_str().unwrap();
    refused(&report(&[a, "--data", other]), "is not the data that a was trained on");
    refused(&report(&[a, "--data", "/nowhere"]), "there is no such folder");
}

#[test]
fn what_is_no_run_is_refused() {
    let place = Place::new(40, 10);
    let out = place.out.path();
    refused(&report(&[out.join("missing").to_str().unwrap()]), "missing: No such file");
    refused(&report(&[out.to_str().unwrap()]), "is no folder of a run: it has no config.json");

    assert!(run(&place.train("a", &["--epochs", "1", "-q"])).status.success());
    let folder = place.run_folder("a");
    let a = folder.to_str().unwrap();
    let metrics = folder.join("metrics.jsonl");
    let line = fs::read_to_string(&metrics).unwrap();
    fs::write(&metrics, format!("{line}{{\"epoch\":1,\n")).unwrap();
    refused(&report(&[a]), "metrics.jsonl: line 2 is no record of an epoch: ");
    fs::write(&metrics, line).unwrap();
    fs::write(folder.join("profile.json"), "[1]").unwrap();
    refused(&report(&[a]), "profile.json: holds no times of kernels: ");
    fs::remove_file(folder.join("profile.json")).unwrap();

    let missing = out.join("no/such/folder/report.html");
    refused(&report(&[a, "--out", missing.to_str().unwrap()]), "cannot write");
    #[cfg(target_os = "linux")]
    refused(&report(&[a, "--out", "/dev/full"]), "cannot write /dev/full: No space left on device");

    // A damaged model is no reason not to show the rest.
    fs::write(folder.join("best.safetensors"), "damaged").unwrap();
    let output = report(&[a]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("is no safetensors file"), "{}", stderr(&output));
    assert_eq!(texts(&read(&folder.join("report.html")), "svg.chart").len(), 2);
}

#[test]
fn a_run_that_stopped_in_its_first_epoch_has_a_page() {
    let place = Place::new(40, 10);
    assert!(run(&place.train("a", &["--epochs", "1", "-q"])).status.success());
    let folder = place.run_folder("a");
    for file in ["metrics.jsonl", "best.safetensors", "model.safetensors", "state.safetensors"] {
        fs::remove_file(folder.join(file)).unwrap();
    }
    let output = report(&[folder.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let html = read(&folder.join("report.html"));
    assert_eq!(texts(&html, ".missing")[0], "Not shown: no epoch of it has finished yet.");
    let help = format!("\nhelp: go on with it: signet train --resume {}\n", folder.display());
    assert!(stderr(&output).ends_with(&help), "{}", stderr(&output));

    // Who needs its model is told the same, and not of a missing file.
    let image = folder.join("image.png");
    image::GrayImage::new(28, 28).save(&image).unwrap();
    let [a, image, onnx] =
        [&folder, &image, &folder.join("a.onnx")].map(|path| path.to_str().unwrap().to_owned());
    for args in [
        &["evaluate", &a][..],
        &["predict", &a, &image],
        &["serve", &a, "--port", "0"],
        &["export", &a, "--onnx", &onnx],
    ] {
        let output = run(args);
        refused(&output, "no epoch of this run has finished yet, so it has no model");
        assert!(stderr(&output).ends_with(&help), "{}", stderr(&output));
        assert!(!stderr(&output).contains("best.safetensors"), "{}", stderr(&output));
    }
}

/// The training is done and its model saved: a page that cannot be written is no reason to fail.
#[test]
fn a_training_whose_page_cannot_be_written_says_so_and_succeeds() {
    let place = Place::new(40, 10);
    assert!(run(&place.train("a", &["--epochs", "1", "-q"])).status.success());
    let folder = place.run_folder("a");
    // In the place of the page is a folder: no rights help against that, not even root's.
    fs::remove_file(folder.join("report.html")).unwrap();
    fs::create_dir(folder.join("report.html")).unwrap();
    let output = run(&["train", "--resume", folder.to_str().unwrap(), "--epochs", "2", "--quiet"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("notice: no report: cannot write "), "{}", stderr(&output));
    place.check_folder("a", 2);
}
