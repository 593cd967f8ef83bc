//! `signet export`: a run as an ONNX file, with images to compare by.

use crate::common;

use common::program::{Place, run, stderr};
use common::root::{python, root};
use prost::Message;
use signet::onnx::proto::Model;

#[test]
fn the_program_writes_a_run_and_refuses_what_is_no_model() {
    let place = Place::new(40, 30);
    assert!(run(&place.train("a", &["--epochs", "1", "-q"])).status.success());
    let folder = place.run_folder("a");
    let file = folder.join("a.onnx");
    let [folder, file] = [&folder, &file].map(|path| path.to_str().unwrap());
    let examples = place.run_folder("a").join("examples.safetensors");
    let examples = examples.to_str().unwrap();
    let output = run(&["export", folder, "--onnx", file, "--fold", "--examples", examples]);
    assert!(output.status.success(), "{}", stderr(&output));
    let ops = Model::decode(&*std::fs::read(file).unwrap()).unwrap().graph.unwrap().node.len();
    assert_eq!(ops, 3 * 3 + 4);
    // What check_onnx.py compares: images, and what the model says of them.
    let (examples, _) = signet::checkpoint::load(std::path::Path::new(examples)).unwrap();
    let shape = |name: &str| examples.get(name).unwrap().shape.to_string();
    assert_eq!([shape("images"), shape("logits")], ["[256, 1, 28, 28]", "[256, 24]"]);
    let needs = ["-c", "import onnxruntime, safetensors.numpy"];
    if python().args(needs).output().is_ok_and(|run| run.status.success()) {
        let script = root().join("docs/interop/check_onnx.py");
        let path = place.run_folder("a").join("examples.safetensors");
        let run = python().arg(script).arg(file).arg(path).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
    let refuse = |model: &str, onnx: &str, expected: &str| {
        let output = run(&["export", model, "--onnx", onnx]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    };
    refuse(file, "/dev/null", "is no safetensors file");
    refuse("missing.safetensors", "/dev/null", "missing.safetensors");
    refuse(folder, &format!("{folder}/none/a.onnx"), "none/a.onnx");
}
