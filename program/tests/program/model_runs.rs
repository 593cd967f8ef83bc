//! Models of runs: measured on the data that they learned from, and what stands beside them.

use crate::common::program::{Place, run, stderr, stdout};
use crate::model_files::{Place as Model, text};
use serde_json::Value as Json;
use signet::checkpoint;
use signet::nn::{StateDict, Values};
use std::fs;
use std::path::Path;

/// Writes a picture of one grey, with a frame so that no two classes look alike.
fn write_picture(path: &Path, grey: u8, frame: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let pixel = |x: u32, y: u32| if x.min(y) < 5 { frame } else { grey };
    image::GrayImage::from_fn(28, 28, |x, y| image::Luma([pixel(x, y)])).save(path).unwrap();
}

/// A file of the run with other weights.
fn change_best(folder: &Path, key: &str, new: f32) {
    let best = folder.join("best.safetensors");
    let (dict, words) = checkpoint::load(&best).unwrap();
    let change = |(name, value): (&str, &signet::nn::Value)| {
        let mut value = value.clone();
        if let (true, Values::F32(x)) = (name == key, &mut value.values) {
            x.fill(new);
        }
        (name.to_owned(), value)
    };
    checkpoint::save(&best, &dict.iter().map(change).collect::<StateDict>(), Some(words)).unwrap();
}

#[test]
fn a_run_is_not_measured_on_data_that_has_changed() {
    let place = tempfile::tempdir().unwrap();
    let (data, out) = (place.path().join("data"), place.path().join("runs"));
    for number in 0..10 {
        write_picture(&data.join(format!("one/{number}.png")), 20 * number, 0);
        write_picture(&data.join(format!("two/{number}.png")), 20 * number, 255);
    }
    let args = ["train", "--data", text(&data), "--out", text(&out), "--name", "a"];
    let trained = run(&[&args[..], &["--epochs", "1", "-q", "--device", "cpu"]].concat());
    assert!(trained.status.success(), "{}", stderr(&trained));
    let folder = out.join("a");
    let evaluate = |more: &[&str]| {
        run(&[&["evaluate", text(&folder), "--device", "cpu", "--json"], more].concat())
    };
    let before = evaluate(&[]);
    assert!(before.status.success(), "{}", stderr(&before));
    assert!(!stderr(&before).contains("notice"), "{}", stderr(&before));

    write_picture(&data.join("two/new.png"), 99, 255);
    let after = evaluate(&[]);
    assert_eq!(after.status.code(), Some(2), "{}", stderr(&after));
    let said = stderr(&after);
    let changed = format!(
        "error: the data, images ({}), has changed since {} was trained on it: 17 images to train on \
         and 4 to validate with, instead of 16 and 4\nhelp: bring back the data as it was; or name",
        data.display(),
        folder.display()
    );
    assert!(said.contains(&changed), "{said}");
    assert_eq!(stdout(&after), "");
    // As going on does.
    let resumed = run(&["train", "--resume", text(&folder), "--epochs", "2", "--device", "cpu"]);
    assert_eq!(resumed.status.code(), Some(2));
    assert!(stderr(&resumed).contains(" has changed since "), "{}", stderr(&resumed));
    let help =
        "\nhelp: bring back the data as it was; what is trained on other data is a new run\n";
    assert!(stderr(&resumed).contains(help), "{}", stderr(&resumed));
    // What is asked for by name is measured, and said to be other data.
    let named = evaluate(&["--data", text(&data)]);
    assert!(named.status.success(), "{}", stderr(&named));
    assert!(stderr(&named).contains("notice: the data, images ("), "{}", stderr(&named));
    // Its own data again.
    fs::remove_file(data.join("two/new.png")).unwrap();
    assert_eq!(stdout(&evaluate(&[])), stdout(&before));
    let named = evaluate(&["--data", text(&data)]);
    assert!(!stderr(&named).contains("notice"), "{}", stderr(&named));
}

/// The same of CSV files: one pixel of one image.
#[test]
fn a_changed_pixel_is_other_data() {
    let place = Place::new(40, 10);
    assert!(run(&place.train("a", &["--epochs", "1", "-q"])).status.success());
    let folder = place.run_folder("a");
    let csv = place.data.path().join("sign_mnist_valid.csv");
    let table = fs::read_to_string(&csv).unwrap();
    let end = table.trim_end().rfind(',').unwrap();
    let last: u8 = table[end + 1..].trim().parse().unwrap();
    fs::write(&csv, format!("{},{}\r\n", &table[..end], last ^ 1)).unwrap();
    let output = run(&["evaluate", text(&folder)]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("as many images of the same classes, but other pixels"), "{said}");
    // Where nobody can say what it was trained on, it is not measured on something else.
    fs::write(&csv, table).unwrap();
    assert!(run(&["evaluate", text(&folder)]).status.success());
    fs::write(folder.join("config.json"), "{").unwrap();
    let output = run(&["evaluate", text(&folder)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("is no record of a run"), "{}", stderr(&output));
}

#[test]
fn a_page_is_not_written_of_a_model_that_computes_nothing() {
    let place = Place::new(40, 10);
    assert!(run(&place.train("a", &["--epochs", "1", "-q", "--no-report"])).status.success());
    let folder = place.run_folder("a");
    for (key, new, message) in [
        ("1.running_var", -1.0, "1.running_var is -1 at [0]"),
        ("14.weight", f32::NAN, "14.weight is NaN at [0, 0] of [512, 675]"),
        ("14.weight", 3e38, "14 (Linear)"),
    ] {
        change_best(&folder, key, new);
        let output = run(&["report", text(&folder), "--device", "cpu"]);
        assert_eq!(output.status.code(), Some(2), "{key}: {}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains(message) && said.contains("best.safetensors"), "{key}: {said}");
        assert_eq!(stdout(&output), "");
        assert!(!folder.join("report.html").exists());
        if key == "1.running_var" {
            change_best(&folder, key, 1.0);
        }
    }
}

#[test]
fn a_state_is_no_model() {
    let place = Place::new(40, 10);
    assert!(run(&place.train("a", &["--epochs", "1", "-q", "--no-report"])).status.success());
    let state = place.run_folder("a").join("state.safetensors");
    Model::new().refused(&state, "is the state of a run to go on with; name the run's folder");
}

/// What stands between the two lines of dashes, by key: each value is JSON or plain text.
fn front_matter(card: &str) -> Vec<(String, Json)> {
    let (head, _) = card.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
    let entry = |line: &str| {
        let (key, value) = line.split_once(": ").unwrap();
        let value = serde_json::from_str(value).unwrap_or_else(|_| Json::from(value));
        (key.to_owned(), value)
    };
    head.lines().filter(|line| !line.starts_with('#')).map(entry).collect()
}

#[test]
fn a_card_stands_beside_the_models() {
    let place = Place::new(60, 20);
    assert!(run(&place.train("a", &["--epochs", "2", "-q", "--no-report"])).status.success());
    let folder = place.run_folder("a");
    let read = || fs::read_to_string(folder.join("README.md")).unwrap();
    let card = front_matter(&read());
    let get = |key: &str| &card.iter().find(|(known, _)| known == key).unwrap().1;
    assert_eq!(get("data_license"), "CC0-1.0");
    assert_eq!(get("classes").as_array().unwrap().len(), 24);
    assert_eq!(get("metrics"), &serde_json::json!(["accuracy"]));
    let metrics = place.metrics("a");
    let accuracy = |epoch: &Json| epoch["valid_accuracy"].as_f64().unwrap();
    let best = metrics.iter().map(accuracy).fold(0.0, f64::max);
    let result = &get("model-index")[0]["results"][0];
    assert_eq!(result["metrics"][0]["type"], "accuracy");
    assert_eq!(result["metrics"][0]["value"].as_f64().unwrap(), best);
    assert!(read().contains(&format!("| validation accuracy | {best:.4} |")), "{}", read());
    // It is written anew, unless somebody wrote another.
    let resume = |epochs| {
        let args = ["train", "--resume", text(&folder), "-q", "--no-report", "--epochs", epochs];
        assert!(run(&args).status.success());
    };
    let before = read();
    resume("3");
    assert!(read() != before && read().contains("| epochs done | 3 |"), "{}", read());
    fs::write(folder.join("README.md"), "My own words.\n").unwrap();
    resume("4");
    assert_eq!(read(), "My own words.\n");
}

/// Programs of the Hugging Face family read no safetensors file without the word, and ours passes it
/// over.
#[test]
fn files_say_that_their_layout_is_pytorchs() {
    let place = Place::new(40, 10);
    assert!(run(&place.train("a", &["--epochs", "1", "-q", "--no-report"])).status.success());
    for name in ["model.safetensors", "best.safetensors", "state.safetensors"] {
        let bytes = place.file("a", name);
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt", "{name}");
        let (_, words) = checkpoint::load(&place.run_folder("a").join(name)).unwrap();
        assert!(!words.contains_key("format"), "{name}: {words:?}");
    }
}

#[test]
fn a_name_with_a_newline_is_one_name_in_onnx() {
    use prost::Message;
    let place = Model::new();
    let dict: StateDict = place.dict.iter().cloned().collect();
    let mut names: Vec<String> = signet::data::letters();
    names[0] = "a\nb".into();
    names[1] = "a\\nb".into();
    names[2] = "c\r\u{2028}\u{7}d".into();
    let words = serde_json::json!({ "classes": names }).to_string();
    let words = [("signet.model".to_owned(), words)].into();
    let (model, onnx) = (place.path("names.safetensors"), place.path("names.onnx"));
    checkpoint::save(&model, &dict, Some(words)).unwrap();
    let output = run(&["export", text(&model), "--onnx", text(&onnx)]);
    assert!(output.status.success(), "{}", stderr(&output));
    let file = signet::onnx::proto::Model::decode(&fs::read(&onnx).unwrap()[..]).unwrap();
    assert_eq!(file.metadata_props[0].key, "classes");
    let lines: Vec<&str> = file.metadata_props[0].value.split('\n').collect();
    assert_eq!(lines.len(), 24);
    for (line, name) in lines.iter().zip(&names) {
        assert_eq!(line.lines().count(), 1, "{line:?}");
        // What JSON writes between quotes, and no two are the same.
        assert_eq!(&serde_json::from_str::<String>(&format!("\"{line}\"")).unwrap(), name);
    }
}

/// A picture may meet values that the start could not: the answer is an error in JSON.
#[test]
fn a_server_answers_an_overflow_with_an_error() {
    use crate::common::program::{signet, start};
    use std::io::{BufRead, BufReader, Read, Write};
    let place = Model::new();
    let huge = place.with(|key, value| {
        if let (true, Values::F32(x)) = (key == "14.weight", &mut value.values) {
            x.fill(3e38);
        }
    });
    let model = place.save("huge.safetensors", huge);
    let mut child = start(&mut signet(&["serve", text(&model), "--port", "0", "--device", "cpu"]));
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let address = url.trim().trim_start_matches("http://").trim_end_matches('/');
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let image = fs::read(place.path("image.png")).unwrap();
    let length = image.len();
    let head = format!(
        "POST /predict HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&image).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    let body: Json = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert!(body["error"].as_str().unwrap().contains("14 (Linear)"), "{answer}");
    assert!(!answer.contains("null"), "{answer}");
}
