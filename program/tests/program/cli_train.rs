//! `signet train` and `signet evaluate`, run as a user runs them.

use crate::common;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use common::program::{Place, finish, run, signet, start, stderr, stdout};
#[cfg(unix)]
use common::program::{Signal, signal};
use common::root::root;
use signet::data::{TRAIN_IMAGES, VALID_IMAGES, synthetic};

#[test]
fn a_run_prints_the_notebooks_lines_and_fills_its_folder() {
    let place = Place::new(200, 50);
    let output = run(&place.train("a", &["--epochs", "2", "--seed", "5"]));
    place.check_run("a", 2, &output);
    // The same line as `evaluate` on the last model prints.
    let model = place.run_folder("a").join("model.safetensors");
    let data = place.data.path().to_str().unwrap();
    let evaluation = run(&["evaluate", model.to_str().unwrap(), "--data", data]);
    let text = stdout(&output);
    let valid = text.lines().rfind(|line| line.starts_with("Valid")).unwrap();
    assert!(stdout(&evaluation).starts_with(valid), "{}\n{valid}", stdout(&evaluation));
}

#[test]
fn the_same_seed_gives_the_same_bits_for_any_number_of_threads() {
    let place = Place::new(150, 40);
    for threads in ["1", "2", "3"] {
        let args = place.train(threads, &["--epochs", "1", "--threads", threads, "-q"]);
        assert!(run(&args).status.success());
    }
    let model = place.file("1", "model.safetensors");
    assert_eq!(model, place.file("2", "model.safetensors"));
    assert_eq!(model, place.file("3", "model.safetensors"));
    let other = run(&place.train("other", &["--epochs", "1", "--seed", "1", "-q"]));
    assert!(other.status.success());
    assert_ne!(model, place.file("other", "model.safetensors"));
}

#[test]
fn a_resumed_run_has_the_bits_of_an_uninterrupted_one() {
    for optimizer in ["adam", "adamw", "sgd"] {
        let place = Place::new(150, 40);
        let more = [
            "--optimizer",
            optimizer,
            "--lr",
            "0.002",
            "-q",
            "--schedule",
            "step",
            "--step-size",
            "2",
        ];
        let whole = run(&place.train("whole", &[&more[..], &["--epochs", "3"]].concat()));
        assert!(whole.status.success(), "{}", stderr(&whole));
        let first = run(&place.train("parts", &[&more[..], &["--epochs", "1"]].concat()));
        assert!(first.status.success(), "{}", stderr(&first));
        let folder = place.run_folder("parts");
        let rest = run(&["train", "--resume", folder.to_str().unwrap(), "--epochs", "3", "-q"]);
        assert!(rest.status.success(), "{}", stderr(&rest));
        for file in ["model.safetensors", "best.safetensors"] {
            assert_eq!(place.file("whole", file), place.file("parts", file), "{optimizer}: {file}");
        }
        assert_eq!(place.metrics("whole"), place.metrics("parts"));
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_in_the_middle_of_an_epoch_is_resumed_exactly() {
    let place = Place::new(600, 40);
    let whole = run(&place.train("whole", &["--epochs", "4", "-q"]));
    assert!(whole.status.success(), "{}", stderr(&whole));

    let parts = place.train("parts", &["--epochs", "4", "-q"]);
    let child = start(&mut signet(&parts));
    // Somewhere after the start of the first epoch and before the end of the last.
    std::thread::sleep(Duration::from_millis(150));
    signal(child.id(), Signal::SIGINT);
    let output = finish(child);
    let folder = place.run_folder("parts");
    // A slow machine may be interrupted before there is anything to save, a fast one after the end.
    if folder.join("state.safetensors").is_file() {
        if output.status.code() == Some(130) {
            let folder = folder.display();
            let said = stderr(&output);
            assert!(said.contains(&format!("; go on with: signet train --resume {folder}")));
            assert!(said.contains("stopped in epoch ") || said.contains("stopped before epoch "));
            assert!(said.contains(" of 4 epochs done; go on"), "{said}");
        }
        let rest = run(&["train", "--resume", folder.to_str().unwrap(), "-q"]);
        assert!(rest.status.success(), "{}", stderr(&rest));
        let file = "model.safetensors";
        assert_eq!(place.file("whole", file), place.file("parts", file));
        assert_eq!(place.metrics("whole"), place.metrics("parts"));
    }
}

#[test]
fn results_go_to_stdout_and_talk_to_stderr() {
    let place = Place::new(64, 20);
    let output = run(&place.train("a", &["--epochs", "1", "--json"]));
    let lines: Vec<_> = stdout(&output).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(serde_json::from_str::<serde_json::Value>(&lines[0]).is_ok(), "{lines:?}");
    assert!(stderr(&output).contains("device: "));
    let quiet = run(&place.train("b", &["--epochs", "1", "--quiet"]));
    assert_eq!(stderr(&quiet), "");
}

/// What a recipe chose, what came out, how long it took, and what to do next.
#[test]
fn a_run_says_what_it_does_and_where_its_results_are() {
    let place = Place::new(200, 50);
    let output = run(&place.train("a", &["--epochs", "2", "--recipe", "best", "--seed", "3"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let folder = place.run_folder("a");
    let (folder, said, result) = (folder.display(), stderr(&output), stdout(&output));
    for line in [
        "recipe: best",
        "images: 200 to train on, 50 to validate with; 24 classes, letters of the alphabet",
        "settings: 2 epochs, batch size 32, seed 3",
        "optimizer: adam, learning rate 0.002, falling along a cosine",
        &format!("run: {folder}"),
        &format!("report: {folder}/report.html"),
        "next:",
        &format!("  signet evaluate {folder}"),
        &format!("  signet predict {folder} hand.jpg"),
    ] {
        assert!(said.lines().any(|found| found == line), "{line}: {said}");
    }
    assert!(said.contains("\naugmentation: rotation 10, shift 0.07, "), "{said}");
    assert!(
        said.lines().any(|line| line.starts_with("time: ") && line.contains(" for 2 epochs ("))
    );
    assert!(result.contains(&format!("\nbest model: {folder}/best.safetensors\n")), "{result}");
    // The loss of the notebook's line is a sum; all else is a mean, and called so.
    let metrics = place.metrics("a");
    let (accuracy, best) = (0..2)
        .map(|epoch| (metrics[epoch]["valid_accuracy"].as_f64().unwrap(), epoch))
        .fold((0.0, 0), |best, next| if next.0 >= best.0 { next } else { best });
    let sum = metrics[best]["valid_loss"].as_f64().unwrap();
    let line = format!(
        "best: validation accuracy {accuracy:.4} in epoch {best}, mean loss {:.4}{}",
        sum / 2.0,
        // The last epoch is not said again where it is the best.
        if best == 1 { " (" } else { "; last: " }
    );
    assert!(result.contains(&line), "{line}: {result}");
    assert!(
        result.contains(&format!("Valid - Loss: {sum:.4} Accuracy: {accuracy:.4}")),
        "{result}"
    );
}

/// Sums of batches are hard to compare: the means stand beside them.
#[test]
fn each_epoch_has_its_mean_losses_in_json() {
    let place = Place::new(70, 40);
    let output = run(&place.train("a", &["--epochs", "2", "--json", "-q"]));
    let lines = stdout(&output);
    assert_eq!(lines.as_bytes(), place.file("a", "metrics.jsonl"));
    for metrics in place.metrics("a") {
        // Three batches of training, two of validation.
        for (part, batches) in [("train", 3.0), ("valid", 2.0)] {
            let number = |key: &str| metrics[format!("{part}_{key}")].as_f64().unwrap();
            assert_eq!(number("mean_loss"), number("loss") / batches, "{metrics}");
        }
    }
    // A run that goes on has them too.
    let folder = place.run_folder("a");
    let more = run(&["train", "--resume", folder.to_str().unwrap(), "--epochs", "3", "-q"]);
    assert!(more.status.success(), "{}", stderr(&more));
    assert!(place.metrics("a").iter().all(|line| line["train_mean_loss"].is_number()));
}

#[test]
fn a_run_that_goes_on_says_its_settings_again() {
    let place = Place::new(70, 40);
    let begun = run(&place.train("a", &["--epochs", "1", "--batch-size", "8", "--seed", "3"]));
    let folder = place.run_folder("a");
    let resumed = run(&["train", "--resume", folder.to_str().unwrap(), "--epochs", "2"]);
    let about = |output| -> Vec<String> {
        let said = stderr(output);
        let settings = ["recipe: ", "settings: ", "optimizer: ", "images: "];
        let is_setting = |line: &&str| settings.iter().any(|start| line.starts_with(start));
        said.lines().filter(is_setting).map(|line| line.replace("1 epoch,", "2 epochs,")).collect()
    };
    assert_eq!(about(&begun).len(), 4, "{}", stderr(&begun));
    assert_eq!(about(&begun), about(&resumed));
    // A record of an older version knows no recipe.
    for file in ["state.safetensors", "state.previous.safetensors"] {
        fs::remove_file(folder.join(file)).unwrap();
    }
    let config = fs::read_to_string(folder.join("config.json")).unwrap();
    fs::write(folder.join("config.json"), config.replace("\"recipe\"", "\"another\"")).unwrap();
    let resumed = run(&["train", "--resume", folder.to_str().unwrap()]);
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert_eq!(about(&resumed).len(), 3, "{}", stderr(&resumed));
}

#[test]
fn a_finished_run_says_that_there_is_nothing_to_go_on_with() {
    let place = Place::new(40, 10);
    for (name, schedule) in [("a", "constant"), ("b", "cosine")] {
        let args = ["--epochs", "1", "-q", "--schedule", schedule];
        assert!(run(&place.train(name, &args)).status.success());
        let folder = place.run_folder(name);
        let folder = folder.to_str().unwrap();
        let output = run(&["train", "--resume", folder]);
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        let nothing = format!("nothing to go on with in {folder}: its one epoch is done\n");
        assert!(said.contains(&nothing), "{said}");
        assert!(!said.contains("going on in epoch"), "{said}");
        assert!(!stdout(&output).contains("Total parameters"), "{}", stdout(&output));
        let more = format!("for more: signet train --resume {folder} --epochs 2");
        assert_eq!(said.contains(&more), schedule == "constant", "{said}");
    }
}

#[test]
fn a_rate_that_is_too_large_gets_a_remark() {
    let place = Place::new(200, 20);
    let output = run(&place.train("a", &["--epochs", "2", "--lr", "3", "--optimizer", "sgd"]));
    let said = stderr(&output);
    // Either it ends in numbers that are none, which says the same, or it goes on.
    let remark = "the learning rate 3 is too large; try --lr 0.01\n";
    assert!(said.contains("remark: ") && said.contains(remark), "{said}");
    let good = run(&place.train("b", &["--epochs", "2"]));
    assert!(!stderr(&good).contains("remark:"), "{}", stderr(&good));
}

#[test]
fn curves_are_drawn_where_they_are_asked_for() {
    let place = Place::new(64, 20);
    let output = run(&place.train("a", &["--epochs", "2", "--plot", "-q"]));
    let drawn = stdout(&output);
    assert!(drawn.contains("Mean loss by epoch") && drawn.contains("Accuracy by epoch"), "{drawn}");
    let metrics = place.metrics("a");
    let mean = |epoch: usize| metrics[epoch]["train_loss"].as_f64().unwrap() / 2.0;
    // The higher end of the axis is the highest loss of all, which is that of training.
    let highest = [0, 1].map(mean).into_iter().fold(0.0, f64::max);
    assert!(
        drawn.lines().any(|line| line.ends_with(&format!(" {highest:.4}"))),
        "{highest}: {drawn}"
    );
    assert!(!drawn.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn a_profile_names_the_kernels() {
    let place = Place::new(64, 20);
    let output = run(&place.train("a", &["--epochs", "1", "--profile"]));
    for kernel in ["conv_block_convolve", "conv_block_gradients", "adam"] {
        assert!(stderr(&output).contains(kernel), "{}", stderr(&output));
    }
}

/// On a CPU there are no graphs to leave out; the plain layers compute the same to rounding.
#[test]
fn graphs_and_fusion_can_be_left_out() {
    let place = Place::new(64, 20);
    for (name, flags) in [("a", &[][..]), ("b", &["--no-graph"]), ("c", &["--no-fuse"])] {
        let output = run(&place.train(name, &[&["--epochs", "1", "-q"], flags].concat()));
        assert!(output.status.success(), "{}", stderr(&output));
        let notice = "notice: --no-graph has no effect on the CPU, which has no graphs\n";
        assert_eq!(stderr(&output), if name == "b" { notice } else { "" });
    }
    let model = |name| place.file(name, "model.safetensors");
    assert_eq!(model("a"), model("b"));
    let loss = |name| place.metrics(name)[0]["train_loss"].as_f64().unwrap();
    assert!((loss("a") - loss("c")).abs() < 1e-3 * loss("a"), "{} and {}", loss("a"), loss("c"));
}

/// Wrong use exits with 2, says `message`, and leaves no run behind.
fn refused(place: &Place, args: &[&str], message: &str) {
    let output = run(&place.train("refused", args));
    assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
    assert!(stderr(&output).contains(message), "{args:?}: {}", stderr(&output));
    assert!(!place.run_folder("refused").exists(), "{args:?} left something");
}

#[test]
fn wrong_settings_are_refused() {
    let place = Place::new(40, 10);
    refused(&place, &["--lr", "nan"], "error: --lr: must be a number of at least 0, got NaN");
    refused(&place, &["--lr", "-1"], "help: `signet train --help` says what --lr may be");
    refused(&place, &["--batch-size", "0"], "error: --batch-size: must be at least 1, got 0");
    refused(&place, &["--epochs", "0"], "error: --epochs: must be at least 1, got 0");
    refused(&place, &["--threads", "0"], "error: --threads: must be at least 1, got 0");
    refused(&place, &["--threads", "1025"], "error: --threads: must be at most 1024, got 1025");
    refused(&place, &["--epochs", "-1"], "invalid value '-1' for '--epochs <N>'");
    refused(&place, &["--seed", "-3"], "invalid value '-3' for '--seed <N>'");
    refused(&place, &["--lr", "abc"], "'--lr <X>': expected a number, such as 0.001\n");
    refused(&place, &["--epochs", "2.5"], "expected a whole number of at least 0, such as 20\n");
    refused(&place, &["--device", "gpu"], "--device");
    refused(&place, &["--optimizer", "sdg"], "invalid value");
    refused(&place, &["--schedule", "step", "--step-size", "0"], "error: --step-size: ");
    refused(&place, &["--schedule", "cosine", "--warmup", "20"], "warmup");
    refused(&place, &["--optimizer", "sgd", "--momentum", "-1"], "momentum");
    refused(&place, &["--weight-decay", "inf"], "error: --weight-decay: ");
    refused(&place, &["--lr", "1e30", "--epochs", "3"], "\nhelp: try a smaller --lr\n");
}

#[test]
fn a_training_that_runs_into_nan_names_the_layer_where_that_began() {
    let place = Place::new(100, 10);
    let named = " (Conv2d) is ";
    // Found at once, or by repeating the epoch.
    for args in [&["--lr", "1e30", "--detect-anomaly"][..], &["--lr", "1e30"]] {
        refused(&place, args, named);
    }
    // Where it begins after an epoch that was well, the state of that epoch stays.
    let grows =
        ["--epochs", "3", "--schedule", "step", "--step-size", "1", "--gamma", "1e33", "-q"];
    let output = run(&place.train("later", &grows));
    let folder = place.run_folder("later");
    let state = std::fs::read(folder.join("state.safetensors")).unwrap();
    let data = place.data.path().to_str().unwrap();
    let again = run(&["train", "--data", data, "--resume", folder.to_str().unwrap(), "-q"]);
    for output in [output, again] {
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(named), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("of epoch 1\nhelp: try a smaller --lr\n"),
            "{}",
            stderr(&output)
        );
    }
    assert_eq!(std::fs::read(folder.join("state.safetensors")).unwrap(), state);
}

#[test]
fn names_and_folders_that_cannot_be_used_are_refused() {
    let place = Place::new(40, 10);
    let data = place.data.path().to_str().unwrap();
    let out = place.out.path().to_str().unwrap();
    for name in ["../up", "a/b", ".hidden", ""] {
        let output = run(&["train", "--data", data, "--out", out, "--name", name]);
        assert_eq!(output.status.code(), Some(2), "{name:?}: {}", stderr(&output));
    }
    assert!(run(&place.train("taken", &["--epochs", "1", "-q"])).status.success());
    let again = run(&place.train("taken", &["--epochs", "1", "-q"]));
    assert!(stderr(&again).contains("--resume"), "{}", stderr(&again));
    let file = place.out.path().join("file");
    fs::write(&file, "").unwrap();
    let output = run(&["train", "--data", data, "--out", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("cannot create"), "{}", stderr(&output));
}

#[test]
fn resuming_what_is_no_run_is_refused() {
    let place = Place::new(40, 10);
    let folder = place.out.path().to_str().unwrap();
    let resume = |more: &[&str], path: &str| run(&[&["train", "--resume", path], more].concat());
    let output = resume(&[], folder);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("is no folder of a run"), "{}", stderr(&output));

    assert!(run(&place.train("a", &["--epochs", "2", "--seed", "5", "-q"])).status.success());
    let run_folder = place.run_folder("a");
    let path = run_folder.to_str().unwrap();
    assert!(stderr(&resume(&["--epochs", "1"], path)).contains("2 epochs are done already"));
    assert!(stderr(&resume(&["--lr", "0.1"], path)).contains("cannot be used with"));
    let drawn = stderr(&resume(&["--data", "synthetic"], path));
    assert!(drawn.contains("synthetic hands (seed 5) is not the data"), "{drawn}");

    let state = run_folder.join("state.safetensors");
    let bytes = fs::read(&state).unwrap();
    fs::write(&state, &bytes[..bytes.len() / 2]).unwrap();
    fs::remove_file(run_folder.join("state.previous.safetensors")).unwrap();
    let output = resume(&["--epochs", "3"], path);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("state.safetensors"), "{}", stderr(&output));
}

#[test]
fn a_run_is_measured_on_its_own_data() {
    let place = Place::new(40, 10);
    assert!(run(&place.train("a", &["--epochs", "1", "-q"])).status.success());
    let folder = place.run_folder("a");
    let data = |model: &str| {
        let mut evaluate = signet(&["evaluate", folder.join(model).to_str().unwrap()]);
        let output = finish(start(evaluate.env("SIGNET_DATA", "/nowhere")));
        stderr(&output).lines().find_map(|line| Some(line.split_once("data: ")?.1.to_owned()))
    };
    let own = place.data.path().to_str().unwrap();
    assert!(data("").unwrap().contains(own));
    assert_eq!(data("best.safetensors"), None, "a file has none, and the folder is wrong");

    // As of a run on `auto` that found none.
    let config = folder.join("config.json");
    let mut record: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
    let drawn = synthetic(0, TRAIN_IMAGES, VALID_IMAGES);
    record["data"] = "auto".into();
    record["synthetic"] = true.into();
    record["data_sha256"] = drawn.digest().into();
    fs::write(&config, record.to_string()).unwrap();
    assert_eq!(data("").unwrap(), "synthetic hands (seed 0)");
}

#[test]
fn evaluate_refuses_what_is_no_model() {
    let place = Place::new(40, 10);
    let data = place.data.path().to_str().unwrap();
    let evaluate = |model: &Path| run(&["evaluate", model.to_str().unwrap(), "--data", data]);
    let refused = |model: &Path, message: &str| {
        let output = evaluate(model);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
    };
    let missing = place.out.path().join("missing.safetensors");
    refused(&missing, "cannot read");
    refused(place.out.path(), "is no folder of a run");
    // The narrow twin that the fixtures were made with: the same layers, fewer channels.
    let fixtures = root().join("tests/fixtures");
    refused(&fixtures.join("model_pytorch.safetensors"), "the values are of another model");
    let truncated = place.out.path().join("truncated.safetensors");
    let bytes = fs::read(fixtures.join("model_pytorch.safetensors")).unwrap();
    fs::write(&truncated, &bytes[..bytes.len() - 100]).unwrap();
    refused(&truncated, "was it copied whole?");
    fs::write(&truncated, b"not safetensors").unwrap();
    refused(&truncated, "is no safetensors file");
    fs::write(&truncated, b"").unwrap();
    refused(&truncated, "is empty");
}

/// Runs the program in `folder`, where no data lies but what the test put there.
fn run_in(folder: &Path, args: &[&OsStr]) -> std::process::Output {
    let mut command = signet(&[]);
    command.args(args).current_dir(folder).env_remove("SIGNET_DATA");
    finish(start(command.env("XDG_CACHE_HOME", "/nowhere").env("HOME", "/nowhere")))
}

/// That the run `name` of `place` is measured, and gone on with, from a folder elsewhere.
#[track_caller]
fn check_from_elsewhere(place: &Place, name: &str) {
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = place.run_folder(name);
    let evaluate = [OsStr::new("evaluate"), folder.as_os_str(), OsStr::new("--offline")];
    let resume = ["train", "--epochs", "2", "-q", "--offline", "--resume"].map(OsStr::new);
    for args in [&evaluate[..], &[&resume[..], &[folder.as_os_str()]].concat()] {
        let output = run_in(elsewhere.path(), args);
        assert!(output.status.success(), "{name}: {args:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains("synthetic hands"), "{}", stderr(&output));
    }
}

#[test]
fn data_that_was_named_from_one_folder_is_found_from_any() {
    let place = Place::new(40, 10);
    let working = tempfile::tempdir().unwrap();
    let asl = working.path().join("data/asl_data");
    fs::create_dir_all(&asl).unwrap();
    for name in ["sign_mnist_train.csv", "sign_mnist_valid.csv"] {
        fs::copy(place.data.path().join(name), asl.join(name)).unwrap();
    }
    let cases: [(&str, &Path, &str); 3] = [
        ("dot", &asl, "."),
        ("below", working.path(), "data/../data/asl_data"),
        // What `auto` finds below the folder it is run in.
        ("auto", working.path(), "auto"),
    ];
    for (name, from, data) in cases {
        let out = place.out.path().to_str().unwrap();
        let args = ["train", "--epochs", "1", "-q", "--name", name, "--out", out, "--data", data];
        let output = run_in(from, &args.map(OsStr::new));
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        check_from_elsewhere(&place, name);
    }
}

#[cfg(unix)]
#[test]
fn data_in_a_folder_whose_name_is_no_utf8_is_found_again() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new(40, 10);
    let working = tempfile::tempdir().unwrap();
    let data = OsStr::from_bytes(b"100% \xfe");
    fs::create_dir(working.path().join(data)).unwrap();
    for name in ["sign_mnist_train.csv", "sign_mnist_valid.csv"] {
        fs::copy(place.data.path().join(name), working.path().join(data).join(name)).unwrap();
    }
    let out = place.out.path().to_str().unwrap();
    let args = ["train", "--epochs", "1", "-q", "--name", "a", "--out", out, "--data"];
    let output = run_in(working.path(), &[&args.map(OsStr::new)[..], &[data]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    check_from_elsewhere(&place, "a");
}
