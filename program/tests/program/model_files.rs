//! Models as people have them: what PyTorch left behind, what is no model, and what computes nothing.

use crate::common;

use common::program::{run, stderr, stdout, with_model};
use common::pth::{
    Floats, Pickle, Storage, View, archive, entries, legacy_head, ordered_dict, state_dict, zipped,
};
use common::root::root;
use serde_json::Value as Json;
use signet::checkpoint;
use signet::nn::{Module, Sequential, StateDict, Value, Values, asl};
use signet::{Device, Shape};
use signet_cli::predict::TrainedModel;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use zip::CompressionMethod;

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn fixtures() -> PathBuf {
    root().join("tests/fixtures")
}

/// A folder with a model of 24 classes and an image.
pub struct Place {
    folder: TempDir,
    /// In the order of the layers.
    pub dict: Vec<(String, Value)>,
}

impl Place {
    pub fn new() -> Self {
        let (folder, _) = with_model(24);
        let device = Device::cpu().unwrap();
        let model: Sequential = Sequential::new(&device, 3, asl(24)).unwrap();
        let dict = entries(&model.state_dict().unwrap());
        let image = image::GrayImage::from_fn(30, 20, |x, y| image::Luma([(x * 7 + y * 3) as u8]));
        image.save(folder.path().join("image.png")).unwrap();
        Self { folder, dict }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// A safetensors file of these values.
    pub fn save(&self, name: &str, dict: impl IntoIterator<Item = (String, Value)>) -> PathBuf {
        let dict: StateDict = dict.into_iter().collect();
        checkpoint::save(&self.path(name), &dict, None).unwrap();
        self.path(name)
    }

    /// The values, changed.
    pub fn with(&self, change: impl Fn(&str, &mut Value)) -> Vec<(String, Value)> {
        let mut dict = self.dict.clone();
        dict.iter_mut().for_each(|(name, value)| change(name, value));
        dict
    }

    /// The values by other names.
    fn renamed(&self, name: impl Fn(&str) -> String) -> Vec<(String, Value)> {
        self.dict.iter().map(|(key, value)| (name(key), value.clone())).collect()
    }

    /// What `predict --json` says with this model.
    #[track_caller]
    fn predict(&self, model: &Path, more: &[&str]) -> Json {
        let (image, model) = (self.path("image.png"), text(model));
        let args = ["predict", model, text(&image), "--json", "--crop", "none", "--device", "cpu"];
        let output = run(&[&args[..], more].concat());
        assert_eq!(output.status.code(), Some(0), "{model}: {}", stderr(&output));
        serde_json::from_str(&stdout(&output)).unwrap()
    }

    /// That each command that uses a model refuses it with this message and prints nothing.
    #[track_caller]
    pub fn refused(&self, model: &Path, message: &str) {
        let (model, image, onnx) = (text(model), self.path("image.png"), self.path("out.onnx"));
        for args in [
            &["predict", model, text(&image)][..],
            &["predict", model, text(&image), "--json"],
            &["evaluate", model, "--data", "synthetic"],
            &["export", model, "--onnx", text(&onnx)],
            &["serve", model, "--port", "0"],
        ] {
            let output = run(args);
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
            let error = said.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
            assert!(error.contains(message), "{args:?}: {said}");
            assert_eq!(stdout(&output), "", "{args:?}");
            assert!(!onnx.exists());
        }
    }
}

fn layer(key: &str) -> (usize, &str) {
    let (layer, name) = key.split_once('.').unwrap();
    (layer.parse().unwrap(), name)
}

/// The key of the course's network for one of ours: three blocks, each a Sequential called `model`.
fn course(key: &str) -> String {
    let (layer, name) = layer(key);
    match layer {
        0 | 1 => format!("0.model.{layer}.{name}"),
        4 | 5 => format!("1.model.{}.{name}", layer - 4),
        9 | 10 => format!("2.model.{}.{name}", layer - 9),
        14 => format!("4.{name}"),
        _ => format!("7.{name}"),
    }
}

/// As a class with names of its own has them; sorted, they are in another order than the layers.
fn named(key: &str) -> String {
    let (layer, name) = layer(key);
    let names = ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "fc1", "fc2"];
    let at = [0, 1, 4, 5, 9, 10, 14, 17].iter().position(|&known| known == layer).unwrap();
    format!("{}.{name}", names[at])
}

/// What PyTorch 2.15 wrote, each file with the values of the same network.
#[test]
fn files_of_torch_save_hold_the_values_that_were_saved() {
    let (saved, _) = checkpoint::load(&fixtures().join("model_pytorch.safetensors")).unwrap();
    let mut read = 0;
    for entry in fs::read_dir(fixtures().join("torch")).unwrap() {
        let path = entry.unwrap().path();
        let (dict, words) = checkpoint::load(&path).unwrap();
        assert!(words.is_empty());
        let name = path.file_name().unwrap().to_str().unwrap();
        let key = |key: &str| match name {
            "module_parallel.pth" => format!("module.{key}"),
            _ if name.contains("course") => course(key),
            _ => key.to_owned(),
        };
        assert_eq!(dict.iter().count(), saved.iter().count(), "{name}");
        for (own, value) in saved.iter() {
            assert_eq!(dict.get(&key(own)), Some(value), "{name}: {own}");
        }
        // In the order of the layers.
        let layers: Vec<usize> = dict
            .iter()
            .filter(|_| !name.contains("course") && !name.contains("parallel"))
            .map(|(key, _)| layer(key).0)
            .collect();
        assert!(layers.is_sorted(), "{name}: {layers:?}");
        read += 1;
    }
    assert_eq!(read, 13);
}

#[test]
fn every_spelling_of_the_same_model_predicts_the_same() {
    let place = Place::new();
    let plain = place.save("plain.safetensors", place.dict.clone());
    let expected = place.predict(&plain, &[]);
    let answers_as_the_plain_one = |model: &Path| {
        assert_eq!(place.predict(model, &[]), expected, "{}", model.display());
    };
    type Rename = Box<dyn Fn(&str) -> String>;
    let mut names: Vec<Rename> = vec![Box::new(course), Box::new(named)];
    for prefix in ["_orig_mod.", "module.", "_orig_mod.module.", "model.", "features.0.net."] {
        names.push(Box::new(move |key| format!("{prefix}{key}")));
    }
    // Numbers that sort as text in another order: 10 before 9.
    names.push(Box::new(|key| format!("{}.{}", layer(key).0 + 5, layer(key).1)));
    for (i, name) in names.iter().enumerate() {
        answers_as_the_plain_one(&place.save(&format!("{i}.safetensors"), place.renamed(name)));
        for is_legacy in [false, true] {
            let file = state_dict(&place.renamed(name), Floats::F32, is_legacy);
            // The ending is a name's, not what is read.
            answers_as_the_plain_one(&place.write(&format!("{i}-{is_legacy}.bin"), &file));
        }
    }
    // Counters that are missing, have one element, or another type.
    let is_count = |name: &str| name.ends_with("num_batches_tracked");
    let without = place.dict.iter().filter(|(name, _)| !is_count(name)).cloned();
    answers_as_the_plain_one(&place.save("without.safetensors", without));
    for (i, values) in [Values::I64(vec![7]), Values::F32(vec![7.0])].into_iter().enumerate() {
        let value = Value { shape: Shape::from([1]), values };
        let dict = place.with(|name, old| {
            if is_count(name) {
                old.clone_from(&value);
            }
        });
        answers_as_the_plain_one(&place.save(&format!("count-{i}.safetensors"), dict));
    }
    // Wider floats, and narrower ones of values that fit them.
    answers_as_the_plain_one(&place.write("f64.pth", &state_dict(&place.dict, Floats::F64, false)));
    for floats in [Floats::F16, Floats::BF16] {
        let round = |x: &f32| match floats {
            Floats::F16 => half::f16::from_f32(*x).to_f32(),
            _ => half::bf16::from_f32(*x).to_f32(),
        };
        let rounded = place.with(|_, value| {
            if let Values::F32(x) = &value.values {
                value.values = Values::F32(x.iter().map(round).collect());
            }
        });
        let narrow = place.write("narrow.pth", &state_dict(&rounded, floats, false));
        let wide = place.save("wide.safetensors", rounded);
        assert_eq!(place.predict(&narrow, &[]), place.predict(&wide, &[]), "{floats:?}");
    }
}

#[test]
fn checkpoints_are_searched_for_their_model() {
    let place = Place::new();
    let expected = place.predict(&place.save("plain.safetensors", place.dict.clone()), &[]);
    for (i, keys) in [&["state_dict"][..], &["model_state_dict"], &["model"], &["module", "net"]]
        .iter()
        .enumerate()
    {
        let mut pickle = Pickle::default().raw(b"}(").text("epoch").int(3);
        pickle = pickle.text("optimizer").raw(b"}").text(keys[0]);
        for key in &keys[1..] {
            pickle = pickle.raw(b"}").text(key);
        }
        let (pickle, storages) = ordered_dict(pickle, &place.dict, Floats::F32, false);
        let pickle = keys[1..].iter().fold(pickle, |pickle, _| pickle.raw(b"s")).raw(b"u").stop();
        let model = place.write(&format!("{i}.pt"), &archive(&pickle, &storages));
        assert_eq!(place.predict(&model, &[]), expected, "{keys:?}");
    }
    let pickle = Pickle::default().raw(b"}(").text("epoch").int(3).text("best").int(1).raw(b"u");
    let model = place.write("none.pt", &archive(&pickle.stop(), &[]));
    place.refused(&model, "Its keys: \"epoch\", \"best\"");
}

#[test]
fn verbose_says_which_key_is_which() {
    let place = Place::new();
    let say = |model: &Path| {
        let image = place.path("image.png");
        let output = run(&["predict", text(model), text(&image), "--verbose", "--device", "cpu"]);
        assert!(output.status.success());
        stderr(&output)
    };
    let said = say(&place.save("plain.safetensors", place.dict.clone()));
    assert!(said.contains("has the 25 keys of the network"), "{said}");
    let without = place.renamed(course).into_iter().filter(|(key, _)| !key.ends_with("tracked"));
    let said = say(&place.save("course.safetensors", without));
    for (own, shape, found) in [
        ("0.weight", "[25, 1, 3, 3]", "0.model.0.weight"),
        ("10.running_var", "[75]", "2.model.1.running_var"),
        ("17.bias", "[24]", "7.bias"),
        ("5.num_batches_tracked", "[]", "not there: 0"),
    ] {
        let is_line = |line: &&str| line.split_whitespace().next() == Some(own);
        let line = said.lines().find(is_line).unwrap_or_else(|| panic!("{own}: {said}"));
        assert!(line.contains(shape) && line.ends_with(&format!(" {found}")), "{line}");
    }
    // A name of a file is no command for the terminal.
    let evil = place.renamed(|key| format!("\u{1b}[2J.{key}"));
    let said = say(&place.save("evil.safetensors", evil));
    assert!(!said.contains('\u{1b}') && said.contains("\\u{1b}[2J.0.weight"), "{said}");
}

#[test]
fn what_does_not_fit_is_shown_from_both_sides() {
    let place = Place::new();
    let without_bias = place.dict.iter().filter(|(key, _)| key != "17.bias").cloned();
    let model = place.save("a.safetensors", without_bias);
    place.refused(&model, "17.bias [24] is missing");
    let turned = |prefix: &str| {
        let turn = |key: &str, value: &mut Value| {
            if key == "4.weight" {
                value.shape = Shape::from([25, 50, 3, 3]);
            }
        };
        let renamed = |(key, value): (String, Value)| (format!("{prefix}{key}"), value);
        place.with(turn).into_iter().map(renamed).collect::<Vec<_>>()
    };
    place.refused(
        &place.save("b.safetensors", turned("")),
        "4.weight is [25, 50, 3, 3], the network has [50, 25, 3, 3]",
    );
    let model = place.save("c.safetensors", turned("module."));
    for part in [
        "the values are of another model: 4.weight [50, 25, 3, 3] is missing",
        "The file's keys begin: module.0.bias [25], module.0.weight [25, 1, 3, 3], ",
        "The network's: 0.weight [25, 1, 3, 3], 0.bias [25], 1.weight [25], …",
        "rename them in Python",
    ] {
        place.refused(&model, part);
    }
    // A layer more is another network, by whatever names.
    for key in ["18.bias", "ema.0.weight"] {
        let more = Value { shape: Shape::from([3]), values: Values::F32(vec![0.5; 3]) };
        let dict = place.dict.clone().into_iter().chain([(key.to_owned(), more)]);
        place.refused(&place.save("d.safetensors", dict), &format!("{key} [3] is unexpected"));
    }
    // Whole numbers are no weights, though their shapes fit.
    let quantized = place.with(|key, value| {
        if key == "14.weight" {
            value.values = Values::I64(vec![3; value.values.len()]);
        }
    });
    place.refused(&place.save("e.safetensors", quantized), "14.weight holds whole numbers");
}

/// Nothing of a file is executed: what it names is looked up, and refused by its name.
#[test]
fn what_a_pickle_may_not_name_is_refused_by_name_and_place() {
    let place = Place::new();
    let refused = |pickle: Pickle, message: &str| {
        let file = archive(&pickle.clone().stop(), &[]);
        let error = checkpoint::parse(Path::new("m.pth"), &file).unwrap_err().to_string();
        assert!(error.starts_with("m.pth: byte ") && error.contains(message), "{error}");
        let file = [legacy_head(), pickle.stop()].concat();
        let error = checkpoint::parse(Path::new("m.pth"), &file).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    };
    let new = Pickle::default;
    let touched = place.path("touched");
    let command = format!("touch {}", touched.display());
    refused(new().global("posix", "system").text(&command).raw(b"\x85R"), "names `posix.system`, ");
    assert!(!touched.exists());
    refused(new().global("builtins", "eval").text("1").raw(b"\x85R"), "names `builtins.eval`, ");
    refused(new().global("torch.hub", "load"), "names `torch.hub.load`, ");
    refused(new().global("torch.nn.functional", "relu"), "names `torch.nn.functional.relu`, ");
    refused(
        new().global("numpy.core.multiarray", "scalar"),
        "names `numpy.core.multiarray.scalar`, ",
    );
    refused(new().global("__main__", "Net"), "names `__main__.Net`, ");
    // The other instruction that names something.
    refused(new().text("os").text("system").raw(b"\x93"), "names `os.system`, ");
    refused(new().global("os\u{1b}[2J", "x"), "names `os\\u{1b}[2J.x`, ");
    // What is on the list is no function to call with anything.
    refused(new().global("torch", "FloatStorage").int(3).raw(b"\x85R"), "with wrong arguments");
    refused(new().global("torch.nn.modules.linear", "Linear").raw(b")R"), "with wrong arguments");
    refused(new().global("collections", "OrderedDict").raw(b"K\x01R"), "what are no arguments");
    refused(new().text("x").raw(b")R"), "calls what is no function");
    refused(new().raw(b"}K\x01a"), "appends to what is no list");
    refused(new().raw(b"I1\n"), "instruction 0x49 is none");
    refused(new().raw(b"i__main__\nNet\n"), "instruction 0x69 is none");
    refused(new().raw(b"\x82\x01"), "instruction 0x82 is none");
    refused(new().raw(b"h\x09"), "goes back to what it never kept");
    refused(new().raw(b"\x80\x09"), "protocol 9 is not known");
    refused(new().raw(b"(t1"), "no mark");
    refused(new().raw(b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"), "ends too early");
    // The whole program says so too.
    let evil = new().global("posix", "system").text(&command).raw(b"\x85R").stop();
    place.refused(&place.write("evil.pth", &archive(&evil, &[])), "names `posix.system`, ");
    assert!(!touched.exists());
}

/// Numbers that a file has not, in few bytes.
#[test]
fn tensors_beyond_their_storage_are_refused() {
    let floats = Storage { key: "0".into(), class: "FloatStorage", numel: 4, bytes: vec![0; 16] };
    let parse = |storage: &Storage, view: &View| {
        let pickle = Pickle::default().raw(b"}").text("w").tensor(storage, view, false).raw(b"s");
        checkpoint::parse(Path::new("m"), &archive(&pickle.stop(), std::slice::from_ref(&floats)))
    };
    let view = |offset, shape: &[usize], strides: &[usize]| View {
        offset,
        shape: shape.into(),
        strides: strides.into(),
    };
    let error = |storage: &Storage, view: View| parse(storage, &view).unwrap_err().to_string();
    assert!(parse(&floats, &view(0, &[2, 2], &[1, 2])).is_ok());
    assert!(parse(&floats, &view(3, &[1], &[9])).is_ok());
    assert!(error(&floats, view(1, &[2, 2], &[2, 1])).contains("beyond its storage"));
    assert!(error(&floats, view(0, &[4], &[2])).contains("\"w\" is [4] with strides [2], beyond"));
    assert!(error(&floats, view(0, &[70_000, 70_000], &[0, 0])).contains("more than its storage"));
    assert!(error(&floats, view(0, &[2, 2], &[1])).contains("other sizes than strides"));
    let longer = Storage { numel: 5, ..floats.clone() };
    assert!(error(&longer, view(0, &[2], &[1])).contains("storage \"0\" is shorter than its"));
    let missing = Storage { key: "1".into(), ..floats.clone() };
    assert!(error(&missing, view(0, &[2], &[1])).contains("storage \"1\" is missing"));
    let other = Storage { class: "CharStorage", ..floats.clone() };
    assert!(error(&other, view(0, &[2], &[1])).contains("\"w\" is of type int8; float32"));
    // Each element in order, by way of the strides.
    let counted: Vec<u8> = (0..4).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let counted = Storage { bytes: counted, ..floats.clone() };
    let pickle = Pickle::default().raw(b"}").text("w");
    let pickle = pickle.tensor(&counted, &view(0, &[2, 2], &[1, 2]), false).raw(b"s").stop();
    let (dict, _) = checkpoint::parse(Path::new("m"), &archive(&pickle, &[counted])).unwrap();
    assert_eq!(dict.get("w").unwrap().values, Values::F32(vec![0.0, 2.0, 1.0, 3.0]));
}

#[test]
fn a_file_of_torch_save_that_is_cut_or_packed_is_named() {
    let place = Place::new();
    let parse = |file: &[u8]| checkpoint::parse(Path::new("m"), file);
    for is_legacy in [false, true] {
        let file = state_dict(&place.dict, Floats::F32, is_legacy);
        for length in [20, 200, file.len() / 2, file.len() - 1] {
            let error = parse(&file[..length]).unwrap_err().to_string();
            assert!(error.contains("was it copied whole?"), "{length}: {error}");
        }
    }
    let (pickle, storages) = ordered_dict(Pickle::default(), &place.dict[..2], Floats::F32, false);
    let pickle = pickle.stop();
    let mut file = archive(&pickle, &storages);
    let at = memchr::memmem::find(&file, &storages[0].bytes).unwrap();
    file[at + 5] ^= 1;
    assert!(parse(&file).unwrap_err().to_string().contains("data/0\" in it is damaged"));
    // Packed again by hand, with `zip`.
    let mut files = vec![("data.pkl".to_owned(), &pickle[..])];
    files.extend(storages.iter().map(|s| (format!("data/{}", s.key), &s.bytes[..])));
    let (dict, _) = parse(&zipped(&files, CompressionMethod::Deflated)).unwrap();
    assert_eq!(entries(&dict), place.dict[..2]);
    // A gigabyte in a few kilobytes.
    let bomb = vec![0; 80 << 20];
    files[1].1 = &bomb;
    let error = parse(&zipped(&files, CompressionMethod::Deflated)).unwrap_err().to_string();
    assert!(error.contains("is larger than"), "{error}");
}

#[test]
fn what_is_no_model_is_named_for_what_it_is() {
    let place = Place::new();
    let index = serde_json::json!({
        "metadata": {}, "weight_map": {"0.weight": "model-00001-of-00002.safetensors"},
    })
    .to_string();
    let files: [(&str, &[u8], &str); 12] = [
        (
            "lfs.safetensors",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 1619788\n",
            "is a pointer of Git LFS, not the file itself; fetch it with: git lfs pull",
        ),
        ("page.pth", b"\n<!DOCTYPE html><html>", "is a page of HTML"),
        ("page.safetensors", b"<html lang=\"en\">", "is a page of HTML"),
        ("empty.safetensors", b"", "is empty"),
        ("empty.pth", b"", "is empty"),
        ("index.json", index.as_bytes(), "the index of a model in several files"),
        ("config.json", b"{\"architectures\": []}", "is JSON, not the values of a model"),
        ("model.h5", b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        ("model.gz", b"\x1f\x8b\x08", "is a gzip file; unpack it first"),
        ("text", b"hello", "is no safetensors file"),
        ("other.pkl", b"\x80\x04\x95\x0a", "is a pickle, but none of torch.save"),
        ("zip", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "zip archive without data.pkl"),
    ];
    for (name, bytes, message) in files {
        place.refused(&place.write(name, bytes), message);
    }
    let inner = [("best.pth".to_owned(), &b"PK"[..])];
    let model = place.write("packed.zip", &zipped(&inner, CompressionMethod::Stored));
    place.refused(&model, "is a zip archive with \"model/best.pth\" in it; unpack it first");
    let script = [("data.pkl".to_owned(), &b"\x80\x02N."[..]), ("constants.pkl".to_owned(), b"")];
    let model = place.write("script.pt", &zipped(&script, CompressionMethod::Stored));
    place.refused(&model, "is TorchScript");
    // A folder that is no run's, but has a model.
    fs::create_dir(place.path("hub")).unwrap();
    place.write("hub/model.safetensors", b"x");
    place.refused(&place.path("hub"), "name the model in it, such as ");
    assert!(place.path("hub/model.safetensors").exists());
}

/// As a run's own file is read, whose NaN is behind a right checksum.
#[test]
fn values_that_no_answer_can_come_of_are_refused() {
    let place = Place::new();
    let set = |wanted: &str, at: usize, new: f32| {
        place.with(|key, value| {
            if let (true, Values::F32(x)) = (key == wanted, &mut value.values) {
                x[at] = new;
            }
        })
    };
    let refused = |wanted: &str, at: usize, new: f32, message: &str| {
        let dict = set(wanted, at, new);
        place.refused(&place.write("bad.pth", &state_dict(&dict, Floats::F32, false)), message);
        place.refused(&place.save("bad.safetensors", dict), message);
    };
    refused("0.weight", 0, f32::NAN, "0.weight is NaN at [0, 0, 0, 0] of [25, 1, 3, 3]");
    refused("17.bias", 5, f32::INFINITY, "17.bias is inf at [5] of [24]");
    refused("14.weight", 675, f32::NEG_INFINITY, "14.weight is -inf at [1, 0] of [512, 675]");
    refused("5.running_mean", 1, f32::NAN, "5.running_mean is NaN at [1] of [50]");
    refused("1.running_var", 3, -0.25, "1.running_var is -0.25 at [3], and a variance is never");
    // Beyond what float32 holds.
    let wide = place.with(|key, value| {
        if key == "4.bias" {
            value.values = Values::F64(vec![1e300; 50]);
        }
    });
    place
        .refused(&place.save("wide.safetensors", wide), "4.bias is inf at [0] of [50], as float32");
    // A negative mean and a variance of 0 are fine.
    place.predict(&place.save("a.safetensors", set("5.running_mean", 1, -3.0)), &[]);
    place.predict(&place.save("b.safetensors", set("1.running_var", 3, 0.0)), &[]);
}

#[test]
fn sizes_of_zero_are_refused_by_name() {
    let place = Place::new();
    let empty = |shape: &[usize]| Value { shape: Shape::from(shape), values: Values::F32(vec![]) };
    let cases: [(&str, &[usize]); 4] =
        [("17.weight", &[0, 512]), ("17.bias", &[0]), ("9.weight", &[75, 50, 0, 3]), ("e", &[0])];
    for (name, shape) in cases {
        let mut dict = place.dict.clone();
        dict.retain(|(key, _)| key != name);
        dict.push((name.to_owned(), empty(shape)));
        let message = format!("{name} is {:?}: a size of 0", shape);
        place.refused(&place.write("zero.pth", &state_dict(&dict, Floats::F32, true)), &message);
        place.refused(&place.save("zero.safetensors", dict), &message);
    }
}

/// Every value is finite, and what comes of them is not.
#[test]
fn outputs_that_are_not_finite_are_no_answer() {
    let place = Place::new();
    let huge = place.with(|key, value| {
        if let (true, Values::F32(x)) =
            (key == "14.weight" || key == "17.weight", &mut value.values)
        {
            x.fill(3e38);
        }
    });
    let model = place.save("huge.safetensors", huge);
    let (path, image) = (text(&model), place.path("image.png"));
    for args in [
        &["predict", path, text(&image), "--json"][..],
        &["predict", path, text(&image)],
        &["evaluate", path, "--data", "synthetic", "--json"],
        &["export", path, "--onnx", text(&place.path("out.onnx"))],
    ] {
        let output =
            run(&[args, if args[0] == "export" { &[] } else { &["--device", "cpu"] }].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("14 (Linear)") && said.contains("inf"), "{args:?}: {said}");
        assert_eq!(stdout(&output), "");
    }
    assert!(!place.path("out.onnx").exists());
}

#[test]
fn kaggles_labels_with_gaps_have_their_letters() {
    for (outputs, names) in [(25, 'A'..='Y'), (26, 'A'..='Z')] {
        let (folder, model) = with_model(outputs);
        let model = TrainedModel::open(&model).unwrap();
        assert_eq!(model.classes, names.map(String::from).collect::<Vec<_>>());
        // J is among them, so the letters of the data are found by name.
        let data = signet::data::synthetic(0, 1, 40);
        let mut valid = data.valid.clone();
        model.align(&mut valid).unwrap();
        assert_eq!(valid.class_name(0), data.valid.class_name(0));
        drop(folder);
    }
    let (folder, model) = with_model(3);
    let place = Place::new();
    let (path, image) = (text(&model), place.path("image.png"));
    let predict = |classes: &str| {
        let args = ["predict", path, text(&image), "--json", "--classes", classes];
        run(&[&args[..], &["--device", "cpu"]].concat())
    };
    let output = predict("rock, paper,scissors");
    let row: Json = serde_json::from_str(&stdout(&output)).unwrap();
    let mut letters: Vec<&str> = row["top"]
        .as_array()
        .unwrap()
        .iter()
        .map(|guess| guess["class"].as_str().unwrap())
        .collect();
    letters.sort_unstable();
    assert_eq!(letters, ["paper", "rock", "scissors"]);
    for (classes, message) in [
        ("rock,paper", "the model has 3 outputs, and 2 names"),
        ("rock,paper,rock", "two classes are called \"rock\""),
        ("rock,,paper", "a class has an empty name"),
    ] {
        let output = predict(classes);
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(said.contains("--classes") && said.contains(message), "{said}");
    }
    drop(folder);
}

#[test]
fn class_names_in_a_file_are_as_many_as_outputs_and_each_another() {
    let place = Place::new();
    let dict: StateDict = place.dict.iter().cloned().collect();
    for (names, message) in [
        (vec![""; 24], "a class has an empty name"),
        (vec!["A"; 24], "two classes are called \"A\""),
        (vec!["A"], "the model has 24 outputs, and 1 names"),
    ] {
        let words = serde_json::json!({ "classes": names }).to_string();
        let words = [("signet.model".to_owned(), words)].into();
        checkpoint::save(&place.path("a.safetensors"), &dict, Some(words)).unwrap();
        place.refused(&place.path("a.safetensors"), message);
    }
}
