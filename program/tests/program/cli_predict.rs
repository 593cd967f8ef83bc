//! `signet predict`, and training on folders of images, run as a user runs them.

use crate::common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use common::photos::{bad_files, photo_file};
use common::program::{finish, run, signet, start, stderr, stdout, with_model};
use common::root::root;
use serde_json::Value;
use signet::checkpoint;
use signet::data::letters;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The lines of `--json`.
fn json(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Writes a PNG of one grey.
fn write_grey(path: &Path, value: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_pixel(30, 20, image::Luma([value])).save(path).unwrap();
}

#[test]
fn each_image_is_a_line_with_five_letters() {
    let (folder, model) = with_model(24);
    let images = folder.path().join("images");
    for (name, value) in [("b.png", 10), ("a.PNG", 200)] {
        write_grey(&images.join(name), value);
    }
    fs::write(images.join("c.jpeg"), photo_file("lossy_jpeg_cmyk")).unwrap();
    fs::write(images.join("longer name.webp"), photo_file("exact_webp_animated")).unwrap();
    fs::write(images.join("notes.txt"), "no image, and not looked at").unwrap();
    let output = run(&["predict", text(&model), text(&images)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let (place, webp) = (images.display(), images.join("longer name.webp"));
    let notices = format!(
        "notice: not read in {place}: 1 .txt\nnotice: {} is an animation: its first frame is read\n",
        webp.display()
    );
    assert_eq!(stderr(&output), notices);
    let lines: Vec<String> = stdout(&output).lines().map(str::to_owned).collect();
    let names = ["a.PNG", "b.png", "c.jpeg", "longer name.webp"];
    assert_eq!(lines.len(), names.len(), "{lines:?}");
    for (line, name) in lines.iter().zip(names) {
        let path = images.join(name);
        let rest = line.strip_prefix(text(&path)).unwrap_or_else(|| panic!("{name}: {line}"));
        // Aligned: as long as all others.
        assert_eq!(line.len(), lines[0].len(), "{lines:?}");
        let words: Vec<&str> = rest.split_whitespace().collect();
        assert_eq!(words.len(), 10, "{line}");
        for pair in words.chunks(2) {
            assert!(pair[0].len() == 1 && ('A'..='Y').contains(&pair[0].chars().next().unwrap()));
            assert!((0.0..=1.0).contains(&pair[1].parse::<f64>().unwrap()), "{line}");
        }
    }

    let output = run(&["predict", text(&model), text(&images), "--json", "--crop", "none"]);
    let rows = json(&output);
    assert_eq!(rows.len(), 4);
    for (row, name) in rows.iter().zip(names) {
        assert_eq!(row["path"], text(&images.join(name)));
        let top = row["top"].as_array().unwrap();
        assert_eq!(top.len(), 5);
        assert_eq!(
            (&top[0]["letter"], &top[0]["probability"]),
            (&row["letter"], &row["probability"])
        );
        let p: Vec<f64> = top.iter().map(|guess| guess["probability"].as_f64().unwrap()).collect();
        assert!(p.is_sorted_by(|a, b| a >= b) && p.iter().sum::<f64>() <= 1.0 + 1e-9, "{p:?}");
    }
}

#[test]
fn what_the_network_sees_can_be_looked_at() {
    let (folder, model) = with_model(24);
    let sheet = folder.path().join("seen.png");
    let images = [10, 200].map(|value| folder.path().join(format!("{value}.png")));
    write_grey(&images[0], 10);
    write_grey(&images[1], 200);
    let missing = folder.path().join("missing.png");
    let files = [text(&images[0]), text(&missing), text(&images[1])];
    let command =
        [&["predict", text(&model), "--crop", "none", "--show", text(&sheet)], &files[..]];
    assert_eq!(run(&command.concat()).status.code(), Some(1));
    let seen = image::open(&sheet).unwrap().into_luma8();
    // Two cells of 28x28 pixels, each enlarged four times, with a name and gaps.
    assert_eq!(seen.dimensions(), (2 * 124 + 12, 146 + 12));
    assert_eq!((seen.get_pixel(60, 60)[0], seen.get_pixel(124 + 60, 60)[0]), (10, 200));
}

#[test]
fn a_model_that_never_saw_a_photograph_says_so() {
    let (folder, plain) = with_model(24);
    let (dict, _) = checkpoint::load(&plain).unwrap();
    let image = folder.path().join("grey.png");
    write_grey(&image, 90);
    for synthetic in [false, true] {
        let model = folder.path().join("words.safetensors");
        let words = serde_json::json!({ "classes": letters(), "synthetic": synthetic });
        let words = [("signet.model".to_owned(), words.to_string())];
        checkpoint::save(&model, &dict, Some(words.into())).unwrap();
        let output = run(&["predict", text(&model), text(&image)]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(stderr(&output).contains("never saw a photograph"), synthetic);
    }
}

#[test]
fn stdin_is_an_image_too() {
    let (_folder, model) = with_model(24);
    let mut command = signet(&["predict", text(&model), "-", "--json"]);
    let mut child = start(command.stdin(Stdio::piped()));
    child.stdin.take().unwrap().write_all(&photo_file("exact_rgb_47x61")).unwrap();
    let output = finish(child);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(json(&output)[0]["path"], "-");
}

#[test]
fn what_cannot_be_read_is_named_and_the_others_are_predicted() {
    let (folder, model) = with_model(24);
    let path = |name: &str| folder.path().join(name);
    let mut images = vec![path("first.png")];
    write_grey(&images[0], 30);
    let bad = bad_files();
    for (name, bytes) in &bad {
        images.push(path(name));
        fs::write(path(name), bytes).unwrap();
    }
    fs::create_dir(path("no images")).unwrap();
    images.extend([path("no images"), path("missing.png"), path("pixel.png")]);
    fs::write(path("pixel.png"), photo_file("exact_rgb_1x1")).unwrap();
    let mut args = vec!["predict", text(&model), "--json"];
    args.extend(images.iter().map(|path| text(path)));
    let output = run(&args);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let paths: Vec<Value> = json(&output).iter().map(|row| row["path"].clone()).collect();
    assert_eq!(paths, [text(&path("first.png")), text(&path("pixel.png"))]);
    let said = stderr(&output);
    let is_message = |line: &&str| !line.starts_with("help: ");
    let messages: Vec<String> = said.lines().filter(is_message).map(str::to_owned).collect();
    assert_eq!(messages.len(), bad.len() + 2, "one line each: {messages:#?}");
    let said = |name: &str, message: &str| {
        let path = path(name);
        let of = |line: &&String| line.starts_with("error: ") && line.contains(text(&path));
        let line = messages.iter().find(of).unwrap_or_else(|| panic!("{name}: {messages:#?}"));
        assert!(line.contains(message), "{line}");
    };
    said("text.png", "it is no PNG, JPEG, WebP, GIF, BMP or TIFF image");
    said("truncated.jpg", "ends too early");
    said("huge.png", "50000 x 50000 pixels");
    said("no images", "there is no PNG, JPEG, WebP, GIF, BMP or TIFF image in this folder");
    said("missing.png", "cannot read");
    // What to do, once for each reason.
    let text = stderr(&output);
    for help in [
        "help: open it in another program, and save it as PNG or JPEG\n",
        "help: copy it again, or open it elsewhere and save it as PNG\n",
        "help: name the image files themselves, or the folder that they are in\n",
        "help: check the name; an IMAGE is a file, a folder of image files, or - for stdin\n",
    ] {
        assert_eq!(text.matches(help).count(), 1, "{help}: {text}");
    }
}

#[test]
fn wrong_use_and_what_is_no_model_exit_with_2() {
    let (folder, model) = with_model(24);
    let image = folder.path().join("image.png");
    write_grey(&image, 30);
    let refused = |args: &[&str], message: &str| {
        let output = run(&[&["predict"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(message), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "");
    };
    refused(&[], "MODEL");
    refused(&[text(&model)], "IMAGE");
    refused(&[text(&model), text(&image), "--crop", "hand"], "invalid value");
    refused(&[text(&model), text(&image), "--device", "gpu"], "--device");
    refused(&["missing.safetensors", text(&image)], "cannot read missing.safetensors");
    refused(&[text(folder.path()), text(&image)], "is no folder of a run");
    refused(&[text(&image), text(&image)], "is a PNG image; MODEL comes before IMAGE");
    let fixtures = root().join("tests/fixtures");
    let narrow = fixtures.join("model_pytorch.safetensors");
    refused(&[text(&narrow), text(&image)], "the values are of another model");
    let other = fixtures.join("photos.safetensors");
    refused(&[text(&other), text(&image)], "can be read");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let (folder, model) = with_model(24);
    let image = folder.path().join("image.png");
    write_grey(&image, 30);
    let mut args = vec!["predict", text(&model)];
    args.extend([text(&image); 40]);
    let mut child = start(&mut signet(&args));
    drop(child.stdout.take());
    let output = finish(child);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}

#[test]
fn a_model_without_class_names_has_numbers_unless_they_are_24() {
    for (classes, names) in [(24, None), (7, Some("0123456"))] {
        let (folder, model) = with_model(classes);
        let image = folder.path().join("image.png");
        write_grey(&image, 30);
        let row = &json(&run(&["predict", text(&model), text(&image), "--json"]))[0];
        let letter = row["class"].as_str().unwrap();
        assert!(letter.len() == 1 && names.unwrap_or("ABCDEFGHIKLMNOPQRSTUVWXY").contains(letter));
    }
}

/// Writes so many pictures of each class: upright stripes, level stripes, or plain.
fn write_classes(folder: &Path, images: u32) {
    for number in 0..images {
        let dark = 20 + (number * 7 % 60) as u8;
        let picture = |kind: &str, pixel: &dyn Fn(u32, u32) -> bool| {
            let path = folder.join(kind).join(format!("{number}.png"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let value = |x, y| image::Luma([if pixel(x, y) { dark } else { 230 - dark / 2 }]);
            image::GrayImage::from_fn(56, 56, value).save(path).unwrap();
        };
        picture("upright stripes", &|x, _| (x + number) / 8 % 2 == 0);
        picture("level", &|_, y| (y + number) / 8 % 2 == 0);
        picture("plain", &|x, y| x + y < number);
    }
}

#[test]
fn a_folder_of_images_trains_and_its_names_come_back() {
    let place = tempfile::tempdir().unwrap();
    let (data, out) = (place.path().join("data"), place.path().join("runs"));
    write_classes(&data, 30);
    fs::write(data.join("level/notes.txt"), "no image").unwrap();
    fs::create_dir(data.join(".hidden")).unwrap();
    let args = ["train", "--data", text(&data), "--out", text(&out), "--name", "stripes"];
    let trained = run(&[&args[..], &["--epochs", "8", "--batch-size", "8", "-q"]].concat());
    assert_eq!(trained.status.code(), Some(0), "{}", stderr(&trained));

    let info = run(&["data", "info", "--data", text(&data), "--json"]);
    let info: Value = serde_json::from_str(&stdout(&info)).unwrap();
    let counts = |i: usize| {
        let row = &info["per_class"][i];
        (row["class"].as_str().unwrap(), row["train"].as_u64(), row["valid"].as_u64())
    };
    let names = ["level", "plain", "upright stripes"];
    assert_eq!([0, 1, 2].map(counts), names.map(|name| (name, Some(24), Some(6))));
    let sheet = place.path().join("sheet.png");
    let shown = run(&["data", "show", "--data", text(&data), "--out", text(&sheet)]);
    assert!(shown.status.success() && sheet.is_file(), "{}", stderr(&shown));

    let run_folder = out.join("stripes");
    let evaluated = run(&["evaluate", text(&run_folder), "--data", text(&data), "--json"]);
    let report: Value = serde_json::from_str(&stdout(&evaluated)).unwrap();
    assert_eq!(report["per_class"][2]["class"], "upright stripes");
    for (name, answer) in [("info", &info), ("evaluate", &report)] {
        assert!(!answer.to_string().contains("letter"), "{name}: {answer}");
    }
    let said = stdout(&run(&["evaluate", text(&run_folder), "--data", text(&data)]));
    assert!(said.contains("Confusion (row: the class, ") && !said.contains("etter"), "{said}");
    let page = fs::read_to_string(run_folder.join("report.html")).unwrap();
    let body = page.split("<main>").nth(1).unwrap();
    assert!(
        !body.contains("Letter") && !body.contains("a letter") && body.contains("<h2>Classes</h2>"),
        "{body}"
    );
    assert_eq!(report["valid_accuracy"], 1.0, "{report}");
    assert_eq!(report["confusion"], serde_json::json!([[6, 0, 0], [0, 6, 0], [0, 0, 6]]));
    assert_eq!(report["mistakes"], serde_json::json!([]));

    // The names are in the model's file, not only in the folder of the run.
    let alone = place.path().join("alone.safetensors");
    fs::copy(run_folder.join("model.safetensors"), &alone).unwrap();
    for model in [&run_folder, &alone] {
        for name in names {
            let predicted = run(&["predict", text(model), text(&data.join(name)), "--json"]);
            let rows = json(&predicted);
            assert_eq!(rows.len(), 30);
            let right = rows.iter().filter(|row| row["class"] == name).count();
            assert!(right >= 29, "{name}: {right} of 30");
            assert_eq!(rows[0]["letter"], Value::Null);
            assert_eq!(rows[0]["top"].as_array().unwrap().len(), 3, "there are no five classes");
        }
    }
    // It learned from whole images, so whole images are what it is shown.
    let predict = |more: &[&str]| {
        stdout(&run(&[&["predict", text(&alone), text(&data.join("plain"))], more].concat()))
    };
    assert_eq!(predict(&[]), predict(&["--crop", "none"]));
    assert_ne!(predict(&[]), predict(&["--crop", "auto"]));

    // Other classes than the model's are refused, some of the model's are found by name.
    let synthetic = run(&["evaluate", text(&alone), "--data", "synthetic"]);
    assert_eq!(synthetic.status.code(), Some(2));
    let said = stderr(&synthetic);
    assert!(said.contains("the model knows no class \"A\"") && said.contains("level"), "{said}");
    fs::remove_dir_all(data.join("level")).unwrap();
    let two = run(&["evaluate", text(&alone), "--data", text(&data), "--json"]);
    let report: Value = serde_json::from_str(&stdout(&two)).unwrap();
    assert_eq!(report["confusion"], serde_json::json!([[0, 0, 0], [0, 6, 0], [0, 0, 6]]));
}

#[test]
fn train_and_valid_folders_are_taken_as_they_are() {
    let place = tempfile::tempdir().unwrap();
    write_classes(&place.path().join("train"), 9);
    write_classes(&place.path().join("valid"), 4);
    let info = run(&["data", "info", "--data", text(place.path())]);
    let said = stdout(&info);
    assert!(said.contains("27 train, 12 valid"), "{said}{}", stderr(&info));
    fs::remove_dir_all(place.path().join("valid/plain")).unwrap();
    let info = run(&["data", "info", "--data", text(place.path())]);
    assert_eq!(info.status.code(), Some(2));
    assert!(stderr(&info).contains("valid: there is no class plain in it"), "{}", stderr(&info));
}

#[test]
fn the_split_depends_on_the_names_and_not_on_the_place() {
    let digest = |data: &Path| {
        let info = run(&["data", "info", "--data", text(data), "--json"]);
        let info: Value = serde_json::from_str(&stdout(&info)).unwrap();
        info["sha256"].as_str().unwrap().to_owned()
    };
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_classes(here.path(), 10);
    write_classes(&there.path().join("deeper"), 10);
    assert_eq!(digest(here.path()), digest(&there.path().join("deeper")));
    write_classes(here.path(), 11);
    assert_ne!(digest(here.path()), digest(&there.path().join("deeper")));
}

#[test]
fn folders_that_cannot_be_trained_on_are_refused_with_the_reason() {
    let place = tempfile::tempdir().unwrap();
    let (data, runs) = (place.path(), tempfile::tempdir().unwrap());
    let refused = |message: &str| {
        let output = run(&["train", "--data", text(data), "--out", text(runs.path())]);
        assert_eq!(output.status.code(), Some(2), "{message}: {}", stderr(&output));
        assert!(stderr(&output).contains(message), "{message}: {}", stderr(&output));
        assert_eq!(stdout(&output), "");
    };
    refused("there is no sign_mnist_train.csv in it");
    write_grey(&data.join("one/1.png"), 30);
    write_grey(&data.join("one/2.png"), 60);
    refused("at least two classes are needed, it has 1");
    fs::create_dir(data.join("two")).unwrap();
    refused("two: there is no PNG, JPEG, WebP, GIF, BMP or TIFF image in the folder of this class");
    write_grey(&data.join("two/1.png"), 90);
    refused("two: the class has one image; at least two are needed");
    refused("help: add images of it; or divide all images yourself, into train/CLASS/ and");
    for name in ["2.png", "3.png", "4.jpg", "5.webp"] {
        fs::write(data.join("two").join(name), "no image").unwrap();
    }
    // Of the part that is read first: the others are told of once these are repaired.
    refused("images cannot be read: ");
    refused("(it is no PNG, JPEG, WebP, GIF, BMP or TIFF image)");
}

#[test]
fn evaluate_says_which_letters_are_taken_for_which() {
    let (folder, model) = with_model(24);
    let data = folder.path().join("data");
    // An untrained model takes all of these for one letter or a few, so there are mistakes.
    for letter in ["A", "B", "C"] {
        for number in 0..10 {
            write_grey(&data.join(letter).join(format!("{number}.png")), 20 * number);
        }
    }
    let args = ["evaluate", text(&model), "--data", text(&data), "--mistakes", "2"];
    let output = run(&[&args[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let confusion = report["confusion"].as_array().unwrap();
    assert_eq!(confusion.len(), 24);
    let row = |row: &Value| -> u64 {
        row.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum()
    };
    assert_eq!(confusion.iter().map(row).sum::<u64>(), 6, "two valid images a letter");
    let right: u64 = (0..24).map(|i| confusion[i][i].as_u64().unwrap()).sum();
    assert_eq!(report["valid_accuracy"].as_f64().unwrap(), right as f64 / 6.0);
    let mistakes = report["mistakes"].as_array().unwrap();
    assert_eq!(mistakes.len(), 2);
    for mistake in mistakes {
        assert_ne!(mistake["truth"], mistake["guess"]);
        let letter = |i: usize| report["letters"][i]["letter"].clone();
        let known = |name: &Value| (0..24).find(|&i| letter(i) == *name).unwrap();
        let (truth, guess) = (known(&mistake["truth"]), known(&mistake["guess"]));
        assert!(confusion[truth][guess].as_u64().unwrap() > 0);
    }
    let worst = |i: usize| mistakes[i]["probability"].as_f64().unwrap();
    assert!(worst(0) <= worst(1) && worst(1) < 0.5);

    // Mistakes are called by their files, which lie in the folder of their class.
    for mistake in mistakes {
        let file = mistake["file"].as_str().unwrap();
        let class = data.join(mistake["truth"].as_str().unwrap());
        assert!(Path::new(file).is_file() && Path::new(file).starts_with(class), "{mistake}");
    }
    let said = stdout(&run(&args));
    let first = Path::new(mistakes[0]["file"].as_str().unwrap()).strip_prefix(&data).unwrap();
    assert!(said.contains(&format!("\n{} ", first.display())), "{first:?}: {said}");
    for part in ["Precision", "Recall", "Confusion (row: the letter", "Worst mistakes"] {
        assert!(said.contains(part), "{said}");
    }
}
