//! Names that hold what a terminal would obey, flags that change nothing, and places for results.

use crate::common;

use std::fs;
use std::path::Path;

use common::photos::photo_file;
use common::program::{Place, run, signet, stderr, stdout, with_model};
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// That nothing but line ends and tabs would be obeyed.
#[track_caller]
fn check_plain(said: &str) {
    let obeyed = said.chars().find(|&c| c.is_control() && c != '\n' && c != '\t');
    assert_eq!(obeyed, None, "{said:?}");
}

#[cfg(unix)]
#[test]
fn control_characters_of_names_reach_nobody_raw() {
    let (folder, model) = with_model(24);
    let images = folder.path().join("images\u{1b}[1m");
    fs::create_dir(&images).unwrap();
    // One that sets a window's title, one that would be two lines, one in a single character.
    let (good, broken) = ("a\u{1b}[31m\n\u{9b}2J.png", "b\u{1b}]0;title\u{7}\r.png");
    fs::write(images.join(good), photo_file("exact_rgb_28x28")).unwrap();
    fs::write(images.join(broken), "no image").unwrap();

    let output = run(&["predict", text(&model), text(&images)]);
    assert_eq!(output.status.code(), Some(1));
    let (results, talk) = (stdout(&output), stderr(&output));
    check_plain(&results);
    check_plain(&talk);
    // An error and what to do about it.
    assert_eq!((results.lines().count(), talk.lines().count()), (1, 2), "{results}{talk}");
    assert!(results.contains("images\\u{1b}[1m/a\\u{1b}[31m\\n\\u{9b}2J.png"), "{results}");
    assert!(talk.contains("b\\u{1b}]0;title\\u{7}\\r.png: "), "{talk}");

    // A program gets the very name.
    let output = run(&["predict", text(&model), text(&images), "--json"]);
    check_plain(&stdout(&output));
    let line: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(line["path"], text(&images.join(good)));

    // Whatever is named: files to read, files to write, folders.
    let odd = folder.path().join("odd\u{1b}[2J");
    let odd = text(&odd);
    for args in [
        &["predict", odd, odd][..],
        &["evaluate", odd],
        &["export", odd, "--onnx", "x"],
        &["report", odd],
        &["train", "--resume", odd],
        &["train", "--data", odd],
        &["data", "info", "--data", odd],
        &["train", "--name", "\u{1b}[2J/x", "--data", "synthetic"],
        &["predict", text(&model), odd, "--show", "missing\u{1b}/x.png"],
        &["serve", text(&model), "--host", "\u{1b}[2J"],
        &["bench", "--vs", odd],
    ] {
        let output = run(args);
        assert_ne!(output.status.code(), Some(0), "{args:?}");
        check_plain(&stderr(&output));
        assert!(stderr(&output).contains("error: "), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
    }
    let onnx = folder.path().join("m\u{1b}[2J.onnx");
    let output = run(&["export", text(&model), "--onnx", text(&onnx)]);
    assert!(onnx.is_file(), "{}", stderr(&output));
    check_plain(&stderr(&output));
}

#[cfg(unix)]
#[test]
fn control_characters_of_classes_reach_nobody_raw() {
    let place = tempfile::tempdir().unwrap();
    let (data, out) = (place.path().join("data"), place.path().join("runs"));
    let classes = ["one\u{1b}[31m", "two\u{9b}K"];
    for (shade, class) in [40, 200].into_iter().zip(classes) {
        fs::create_dir_all(data.join(class)).unwrap();
        for number in 0..5 {
            let picture = image::GrayImage::from_pixel(28, 28, image::Luma([shade + number]));
            picture.save(data.join(class).join(format!("{number}.png"))).unwrap();
        }
    }
    let args = ["train", "--data", text(&data), "--out", text(&out), "--name", "r"];
    let trained = run(&[&args[..], &["--epochs", "1", "--device", "cpu"]].concat());
    assert!(trained.status.success(), "{}", stderr(&trained));
    let folder = out.join("r");
    let picture = data.join(classes[0]).join("0.png");
    for args in [
        &["data", "info", "--data", text(&data)][..],
        &["data", "info", "--data", text(&data), "--json"],
        &["evaluate", text(&folder)],
        &["evaluate", text(&folder), "--json"],
        &["predict", text(&folder), text(&picture)],
        &["predict", text(&folder), text(&picture), "--json"],
        &["evaluate", text(&folder), "--data", "synthetic"],
    ] {
        let output = run(args);
        check_plain(&stdout(&output));
        check_plain(&stderr(&output));
        let all = stdout(&output) + &stderr(&output);
        // In a table, or in JSON.
        let escaped = ["one\\u{1b}[31m", "one\\u001b[31m"].iter().any(|name| all.contains(name));
        assert!(escaped && !all.contains("panicked"), "{args:?}: {all}");
    }
    let predicted = run(&["predict", text(&folder), text(&picture), "--json"]);
    let line: Value = serde_json::from_str(&stdout(&predicted)).unwrap();
    assert!(classes.contains(&line["class"].as_str().unwrap()), "{line}");
}

/// The notices of `train --explain` with these flags: it says what it would do, and trains nothing.
fn notices(flags: &[&str]) -> Vec<String> {
    let output = run(&[&["train", "--explain", "--device", "cpu"], flags].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stderr(&output);
    said.lines().filter_map(|line| line.strip_prefix("notice: ")).map(str::to_owned).collect()
}

#[test]
fn a_flag_without_effect_says_so() {
    let cases: [(&[&str], &str); 9] = [
        (&["--momentum", "0.5"], "--momentum has no effect with --optimizer adam, only with sgd"),
        (
            &["--momentum", "0.5", "--optimizer", "adamw"],
            "--momentum has no effect with --optimizer adamw, only with sgd",
        ),
        (&["--warmup", "2"], "--warmup has no effect with --schedule constant, only with cosine"),
        (
            &["--warmup", "2", "--schedule", "step"],
            "--warmup has no effect with --schedule step, only with cosine",
        ),
        (&["--gamma", "0.5"], "--gamma has no effect with --schedule constant, only with step"),
        (
            &["--step-size", "5", "--recipe", "best"],
            "--step-size has no effect with --schedule cosine, only with step",
        ),
        (&["--flip", "0"], "the augmentation flags have no effect: they change nothing"),
        (&["--name", "x"], "--name has no effect with --explain, which does not train"),
        (&["--quiet"], "--quiet has no effect with --explain, which does not train"),
    ];
    for (flags, expected) in cases {
        assert_eq!(notices(flags), [expected], "{flags:?}");
    }
    for flags in [
        &[][..],
        &["--momentum", "0.5", "--optimizer", "sgd"],
        &["--warmup", "2", "--schedule", "cosine"],
        &["--gamma", "0.5", "--step-size", "3", "--schedule", "step"],
        &["--warmup", "2", "--recipe", "best", "--flip", "0"],
        &["--weight-decay", "0.1", "--augment"],
    ] {
        assert_eq!(notices(flags), [""; 0], "{flags:?}");
    }
}

#[test]
fn an_edited_config_says_that_it_has_no_effect() {
    let place = Place::new(64, 32);
    let trained = run(&place.train("r", &["--epochs", "1", "--no-report", "--device", "cpu"]));
    assert!(trained.status.success(), "{}", stderr(&trained));
    let path = place.run_folder("r").join("config.json");
    let resume = |epochs: &str| {
        let folder = place.run_folder("r");
        let args = ["train", "--resume", text(&folder), "--epochs", epochs];
        let output = run(&[&args[..], &["--no-report", "--device", "cpu"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    // Another number of epochs is no edit.
    assert!(!resume("2").contains("config.json"));
    let config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut edited = config.clone();
    (edited["lr"], edited["batch_size"]) = (0.5.into(), 7.into());
    fs::write(&path, edited.to_string()).unwrap();
    let said = resume("3");
    let expected = "notice: config.json was changed, which has no effect: it says batch_size 7 instead \
                    of 32, lr 0.5 instead of 0.001; a run goes on with the settings that it began";
    assert!(said.contains(expected), "{said}");
    // It is the run's own again.
    assert!(!resume("4").contains("config.json"));
    let mut after: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    after["epochs"] = config["epochs"].clone();
    assert_eq!(after, config);
}

#[test]
fn a_result_that_cannot_be_kept_is_refused_before_the_work() {
    let (folder, model) = with_model(24);
    let hand = folder.path().join("hand.png");
    fs::write(&hand, photo_file("exact_rgb_28x28")).unwrap();
    let missing = folder.path().join("missing").join("x.png");
    let (folder_itself, missing) = (text(folder.path()), text(&missing));
    for target in [folder_itself, missing] {
        let output = run(&["predict", text(&model), text(&hand), "--show", target]);
        assert_eq!(output.status.code(), Some(2), "{target}");
        assert_eq!(stdout(&output), "", "nothing was predicted in vain");
        assert!(stderr(&output).contains("error: cannot write "), "{}", stderr(&output));
        let output = run(&["export", text(&model), "--onnx", target]);
        assert_eq!(output.status.code(), Some(2), "{target}");
        let output = run(&["data", "show", "--data", "synthetic", "--out", target]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), String::new()), "{target}");
    }
    let gif = folder.path().join("x.gif");
    let output = run(&["predict", text(&model), text(&hand), "--show", text(&gif)]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), String::new()));
    assert!(stderr(&output).contains("PNG or JPEG"), "{}", stderr(&output));
    assert!(!gif.exists());
    // A file that was there stays when the work fails.
    let kept = folder.path().join("kept.png");
    fs::write(&kept, "mine").unwrap();
    let output = run(&["predict", text(&model), missing, "--show", text(&kept)]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read(&kept).unwrap(), b"mine");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing is left behind");
}

#[test]
fn a_sheet_is_of_the_kind_that_its_name_says() {
    let folder = tempfile::tempdir().unwrap();
    for (name, start) in
        [("x.jpg", &b"\xff\xd8\xff"[..]), ("x.JPEG", b"\xff\xd8\xff"), ("x.png", b"\x89PNG")]
    {
        let path = folder.path().join(name);
        let output = run(&["data", "show", "--data", "synthetic", "--out", text(&path)]);
        assert!(output.status.success(), "{}", stderr(&output));
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.starts_with(start), "{name}: {:?}", &bytes[..4]);
        assert!(image::load_from_memory(&bytes).unwrap().width() > 500, "{name}");
    }
}

#[test]
fn a_model_is_exported_to_stdout() {
    let (folder, model) = with_model(24);
    let path = folder.path().join("model.onnx");
    let to_file = run(&["export", text(&model), "--onnx", text(&path)]);
    assert!(to_file.status.success(), "{}", stderr(&to_file));
    // More than fits a pipe that nobody reads.
    let output = signet(&["export", text(&model), "--onnx", "-"]).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
    assert!(output.stdout == fs::read(&path).unwrap(), "other bytes");
    assert!(!Path::new("-").exists());
}
